"""What it costs to call a command, beside another build of the program: processor time, not the
clock, so that what else runs on the machine matters less.

    python -m tools.bench.start ../colonywatch-before
    python -m tools.bench.start ../colonywatch-before --rounds 15 --commands=--help,status

Each build runs from its own folder with this interpreter, on a record that it has made itself of
the same six simulated captures. The builds take turns, so that both meet the same machine. Byte
code is kept between calls, as an installation does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
COMMANDS = "--help,status,dishes,alerts list,history dish-01"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("former", type=Path, help="folder of the other build's checkout")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commands", default=COMMANDS, help="with commas between them")
    options = parser.parse_args()
    if not (options.former / "monitor" / "__main__.py").is_file():
        parser.error(f"{options.former}: holds no monitor/__main__.py; give a checkout's folder")
    builds = [options.former.resolve(), HERE]
    with tempfile.TemporaryDirectory(prefix="colonywatch-start-") as name:
        states = [Path(name) / "former", Path(name) / "present"]
        captures = Path(name) / "captures"
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(name) / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        cpu_s(HERE, "simulate", captures, "--dishes", "2", "--hours", "24", "--interval-h", "12")
        for build, state in zip(builds, states, strict=True):
            cpu_s(build, "process", captures, "--state", state)
        print("| command | former build, s | this build, s | share |")
        print("|---|---|---|---|")
        for command in options.commands.split(","):
            words = command.split()
            took: tuple[list[float], list[float]] = ([], [])
            for _ in range(options.rounds + 1):
                for build, state, times in zip(builds, states, took, strict=True):
                    on = [] if "--help" in words else ["--state", state]
                    times.append(cpu_s(build, *words, *on))
            # The first call of each finds files and byte code cold.
            before, now = (statistics.median(times[1:]) for times in took)
            print(f"| `{command}` | {before:.2f} | {now:.2f} | {now / before:.2f} |", flush=True)


def cpu_s(build: Path, *words: str | Path) -> float:
    """Processor time of one call, user's and system's. Ends the program where the call fails."""
    call = subprocess.Popen(
        [sys.executable, "-m", "monitor", *map(str, words)],
        cwd=build,
        env=os.environ | {"PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(call.pid, 0)
    call.returncode = os.waitstatus_to_exitcode(status)
    if call.returncode:
        shown = " ".join(map(str, words))
        sys.exit(f"{build}: colonywatch {shown} ended with {call.returncode}; call it by hand")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
