"""Everything that a machine can do to a daemon, and what was left each time.

    python -m tools.soak --kills 300 --seed 1
    python -m tools.soak --only "disk full"

Prints one table. Exits 1 where a promise was broken; what this machine cannot be put into is said
and is no failure.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tools.soak.several import database_beside, several_daemons
from tools.soak.soak import BrokenPromiseError, kill_at_random
from tools.soak.troubles import SkippedError, Trouble, troubles


def main() -> int:
    options = _options()
    # Begun in the background, this program ignores Ctrl-C, and so would all that it begins.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    often = {"kills": options.kills, "mean_s": options.mean_s}

    def kill(root: Path, seed: int) -> str:
        with database_beside(options.database) as url:
            return kill_at_random(root, seed, database=url, **often)

    several = partial(several_daemons, database=options.database, daemons=options.daemons, **often)
    wanted = [
        one
        for one in (
            Trouble("killed at random", kill),
            Trouble("several daemons killed at random", several),
            # What is done to a SQLite file, a server looks after by itself.
            *(troubles(options.captures, options.fuzz_minutes) if not options.database else ()),
        )
        if options.only in one.name
    ]
    rows: list[tuple[str, str, float, str]] = []
    for trouble in wanted:
        began = time.monotonic()
        print(f"{trouble.name} ...", flush=True)
        with tempfile.TemporaryDirectory(prefix="colonywatch-soak-") as name:
            try:
                outcome, text = "sound", trouble.run(Path(name), options.seed)
            except SkippedError as problem:
                outcome, text = "SKIPPED", str(problem)
            except BrokenPromiseError as problem:
                outcome, text = "BROKEN", str(problem).splitlines()[0]
                print(problem, file=sys.stderr)
        rows.append((trouble.name, outcome, time.monotonic() - began, text))
    print("\n| trouble | outcome | took s | |\n|---|---|---|---|")
    for what, outcome, took_s, text in rows:
        print(f"| {what} | {outcome} | {took_s:.0f} | {text} |")
    return 1 if any(outcome == "BROKEN" for _, outcome, _, _ in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mean-s", type=float, default=1.2, help="mean time between kills")
    parser.add_argument(
        "--captures", type=int, default=300, help="for the backfill, and for memory and open files"
    )
    parser.add_argument("--fuzz-minutes", type=float, default=5)
    parser.add_argument(
        "--database", help="of a PostgreSQL server; the records are made in new databases beside it"
    )
    parser.add_argument("--daemons", type=int, default=3, help="that share one record")
    parser.add_argument("--only", default="", help="troubles whose name holds this")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
