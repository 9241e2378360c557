"""Are the packages that are installed here, and those that will be, the ones that were looked at?

Usage: python -m tools.dependencies                (needs no network; part of make lint)
       python -m tools.dependencies --write UV     (requirements.lock anew, by uv; asks the index)

constraints.txt names one version of each package; requirements.lock adds the SHA-256 of every file
of those that a user's installation brings. torch and what only its build for graphics cards brings
are not in it: which build comes is the index's choice, or that of who hands over a file.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.licences import brought_by

ROOT = Path(__file__).parents[1]
PINS, LOCK = ROOT / "constraints.txt", ROOT / "requirements.lock"
# Extras that are for those who work on the program.
NOT_FOR_USERS = frozenset({"bench", "dev", "docs"})
NOT_LOCKED = re.compile(r"torch|triton|cuda-.*|nvidia-.*")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Locked:
    """A package of the lock: its version, and how many files of it are named."""

    version: str
    hashes: int = field(default=0)


def user_extras() -> frozenset[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return frozenset(project["optional-dependencies"]) - NOT_FOR_USERS


def pins_in(text: str) -> dict[str, str]:
    """Name -> version. Raises ValueError for a line that does not name exactly one version."""
    found = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        requirement = Requirement(line)
        (only,) = list(requirement.specifier) or [None]
        if only is None or only.operator != "==" or "*" in only.version:
            raise ValueError(f"{line}: names no single version")
        found[canonicalize_name(requirement.name)] = only.version
    return found


def lock_in(text: str) -> dict[str, Locked]:
    """Name -> what the lock says of it."""
    found: dict[str, Locked] = {}
    for block in re.split(r"\n(?=\S)", text):
        first = block.partition("\\")[0].strip()
        if not first or first.startswith("#"):
            continue
        ((name, version),) = pins_in(first.partition(";")[0]).items()
        found[name] = Locked(version, len(_HASH.findall(block)))
    return found


def problems(
    installed: Mapping[str, str],
    for_users: Iterable[str],
    pins: Mapping[str, str],
    lock: Mapping[str, Locked],
) -> list[str]:
    """A sentence for each thing that is not as it was looked at.

    installed : name -> version, of all that the program and its tests need here
    for_users : those of them that a user's installation brings
    """
    found = []
    for name, version in sorted(installed.items()):
        pinned = pins.get(name)
        if pinned is None:
            found.append(f"{name} {version} has no version in {PINS.name}; add it")
        elif Version(pinned) != Version(Version(version).public):
            found.append(f"{name} is installed as {version}, pinned as {pinned}; make setup")
    for name in sorted(for_users):
        if name not in lock and not NOT_LOCKED.fullmatch(name):
            found.append(f"{name} is not in {LOCK.name}; make hashes")
    for name, one in sorted(lock.items()):
        if not one.hashes:
            found.append(f"{name}: {LOCK.name} names no file of it; make hashes")
        if name in pins and pins[name] != one.version:
            found.append(f"{name} is {one.version} in {LOCK.name}, {pins[name]} in {PINS.name}; "
                         "make hashes")  # fmt: skip
    return found


def write_lock(uv: str) -> int:
    extras = [word for one in sorted(user_extras()) for word in ("--extra", one)]
    # Twice, since what only torch brings is known by the first answer.
    known = lock_in(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else {}
    left_out = {"torch", *(name for name in known if NOT_LOCKED.fullmatch(name))}
    for _ in range(2):
        words = [uv, "pip", "compile", "pyproject.toml", *extras, "--universal",
                 "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--quiet",
                 "--constraint", PINS.name, "--output-file", LOCK.name,
                 "--custom-compile-command", "make hashes"]  # fmt: skip
        for name in sorted(left_out):
            words += ["--no-emit-package", name]
        code = subprocess.run(words, cwd=ROOT, check=False).returncode
        if code:
            return code
        found = lock_in(LOCK.read_text(encoding="utf-8"))
        left_out |= {name for name in found if NOT_LOCKED.fullmatch(name)}
    return 0


def main(words: list[str]) -> int:
    if words[:1] == ["--write"]:
        return write_lock(words[1])
    try:
        names = brought_by("colonywatch", frozenset({"dev"}), set()) - {"colonywatch"}
        for_users = brought_by("colonywatch", user_extras(), set()) - {"colonywatch"}
    except PackageNotFoundError as problem:
        print(f"{problem.name}: is not installed; run make setup first", file=sys.stderr)
        return 1
    found = problems(
        {name: distribution(name).version for name in names},
        for_users,
        pins_in(PINS.read_text(encoding="utf-8")),
        lock_in(LOCK.read_text(encoding="utf-8")),
    )
    for sentence in found:
        print(sentence, file=sys.stderr)
    if not found:
        print(f"{len(names)} packages are the pinned ones, {len(for_users)} of them for users")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
