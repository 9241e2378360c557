#!/usr/bin/env bash
# PyLabRobot 0.2.2: where well A1 of its two Corning 96-well plates lies.
#
# ANSI SLAS 1-2004 gives a plate's footprint as 127.76 x 85.48 mm (0.5 mm either way at most), and
# ANSI SLAS 4-2004 the centre of A1 of a 96-well plate as 14.38 mm from the left edge and 11.24 mm from
# the top edge. In PyLabRobot 0.2.2:
#   cor_96_wellplate_2mL_Vb     footprint 127.0 x 86.0 mm, A1 at 13.6 and 12.0 mm: 0.78 mm to the left of
#                               the standard's place and 0.76 mm below it; footprint off by 0.76 and 0.52
#   cor_96_wellplate_360uL_Fb   footprint as in the standard, A1 at 14.3 and 11.28 mm: off by 0.08 and 0.04
# Both have the standard's pitch of 9 mm, so that every well is off by the same.
#
# Guessed before: within 0.1 mm of the standard for both. It matters where a robot is told "so many um
# right of the well's centre": a tip with a bore of 0.1 mm that goes to the middle of A1 of the first
# plate lands over a millimetre away from it.
#
# What colonywatch does: its protocols compare the robot's wells with the plan's before anything moves.
#
# Exits 0 while the package says what is said above, 1 once it says something else, 2 without a network.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pylabrobot==0.2.2" || exit 2
"$scratch/venv/bin/python" - <<'CODE'
import sys

from pylabrobot.resources.corning.plates import (
    cor_96_wellplate_2mL_Vb,
    cor_96_wellplate_360uL_Fb,
)

STANDARD = (127.76, 85.48, 14.38, 11.24, 9.0)
SEEN = {
    cor_96_wellplate_2mL_Vb: (127.0, 86.0, 13.6, 12.0, 9.0),
    cor_96_wellplate_360uL_Fb: (127.76, 85.48, 14.3, 11.28, 9.0),
}
print("plate                       width  height  A1 from left  A1 from top  pitch   (mm)")
print("%-26s %6.2f %7.2f %13.2f %12.2f %6.2f" % ("ANSI SLAS 1 and 4", *STANDARD))
changed = False
for make, seen in SEEN.items():
    plate = make("plate")
    first, second = plate.get_well("A1"), plate.get_well("A2")
    centre = first.location + first.center()
    found = (
        plate.get_size_x(),
        plate.get_size_y(),
        centre.x,
        plate.get_size_y() - centre.y,
        second.location.x - first.location.x,
    )
    print("%-26s %6.2f %7.2f %13.2f %12.2f %6.2f" % (make.__name__, *found))
    changed |= any(abs(one - other) > 0.005 for one, other in zip(found, seen))
sys.exit(int(changed))
CODE
