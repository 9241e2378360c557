#!/usr/bin/env bash
# opentrons 10.1.0: says that it runs on Python from 3.10 up, and cannot simulate a protocol on 3.11.
#
# Its metadata has "Requires-Python: >=3.10", so pip installs it on 3.11. `opentrons_simulate` of any
# protocol then ends while it imports itself, before the protocol is read: a dictionary type that it
# declares with typing.TypedDict is refused by pydantic (2.14.3) on Python before 3.12. opentrons 8.8.2
# simulates the same protocol on the same Python, with the same pydantic.
#
# Guessed before: what pip installs on 3.11 runs on 3.11.
#
# What colonywatch does: its protocols are simulated with 8.8.2 (tests/opentrons.txt).
#
# Exits 0 while this is so, 1 once it has changed, 2 without Python 3.11 or a network.
set -euo pipefail
command -v python3.11 >/dev/null || { echo "needs python3.11" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
cat >"$scratch/protocol.py" <<'PROTOCOL'
metadata = {"apiLevel": "2.15"}


def run(protocol):
    protocol.load_labware("corning_24_wellplate_3.4ml_flat", 1)
    protocol.comment("one plate on the deck")
PROTOCOL

simulate() {  # $1: release; prints what is seen, in a line
    python3.11 -m venv "$scratch/$1"
    "$scratch/$1/bin/python" -m pip install --quiet --disable-pip-version-check \
        "opentrons==$1" "pydantic==$2" || exit 2
    local code=0
    "$scratch/$1/bin/opentrons_simulate" "$scratch/protocol.py" >"$scratch/$1.txt" 2>&1 || code=$?
    if ((code == 0)) && grep -q 'one plate on the deck' "$scratch/$1.txt"; then
        echo "simulates"
    elif grep -q 'typing_extensions.TypedDict' "$scratch/$1.txt"; then
        echo "cannot be imported: pydantic refuses typing.TypedDict"
    else
        echo "something else: $(tail -n 1 "$scratch/$1.txt")"
    fi
}

new=$(simulate 10.1.0 2.14.3)
old=$(simulate 8.8.2 2.14.3)
echo "opentrons 10.1.0 on Python 3.11: $new"
echo "opentrons 8.8.2 on Python 3.11:  $old"
[[ $new == "cannot be imported"* && $old == simulates ]]
