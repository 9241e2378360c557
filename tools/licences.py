"""The licences of all packages that an installation brings, as a table.

Usage: python -m tools.licences [EXTRA ...]    (for example: sila nd2; without any: the plain one)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def brought_by(
    name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]
) -> set[str]:
    """The names of the packages that a package needs here, itself included.

    Raises PackageNotFoundError for one that is not installed.
    """
    name = canonicalize_name(name)
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    found = {name}
    for needed in _needed(name, extras):
        found |= brought_by(needed.name, frozenset(needed.extras), seen)
    return found


def _needed(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": one}) for one in ("", *extras)):
            yield requirement


def main(extras: list[str]) -> int:
    try:
        names = brought_by("colonywatch", frozenset(extras), set())
    except PackageNotFoundError as problem:
        print(f"{problem.name}: is not installed; run make setup first", file=sys.stderr)
        return 1
    table = ["piplicenses", "--with-system", "--format=markdown", "--packages", *sorted(names)]
    return subprocess.run([sys.executable, "-m", *table], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
