"""The JavaScript of others that the pages use: fetched by npm in exactly these versions, checked,
and laid into the package as it is, with its licence, so that nobody who installs it needs npm.

Usage: python -m tools.vendored            (fetch again and write)
       python -m tools.vendored --check    (are the files that lie there the ones named here?)
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "monitor" / "outlets" / "dashboard" / "vendored"


@dataclass(frozen=True)
class Package:
    """files : path in the package -> (name here, SHA-256)"""

    name: str
    version: str
    licence: str
    files: dict[str, tuple[str, str]]


PACKAGES = (
    Package(
        "openseadragon",
        "6.1.1",
        "BSD-3-Clause",
        {
            "build/openseadragon/openseadragon.min.js": (
                "openseadragon.min.js",
                "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad",
            ),
            "LICENSE.txt": (
                "openseadragon.LICENSE.txt",
                "17da96b26ac706d2cbd06d4555dedb43026782f4943faf0156fe7acf89454228",
            ),
        },
    ),
    Package(
        "uplot",
        "1.6.32",
        "MIT",
        {
            "dist/uPlot.iife.min.js": (
                "uplot.min.js",
                "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
            ),
            "dist/uPlot.min.css": (
                "uplot.min.css",
                "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
            ),
            "LICENSE": (
                "uplot.LICENSE.txt",
                "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
            ),
        },
    ),
)


def problems(folder: Path = FOLDER) -> list[str]:
    """What is not as named above: files that differ, are missing, or that nobody named."""
    named = {name: sha256 for one in PACKAGES for name, sha256 in one.files.values()}
    found = []
    for name, sha256 in named.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing; run: python -m tools.vendored")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            found.append(f"{name} is not the file of that version; run: python -m tools.vendored")
    others = {one.name for one in folder.iterdir()} - set(named) if folder.is_dir() else set()
    return found + [f"{name} is of no package that is named" for name in sorted(others)]


def fetch(folder: Path = FOLDER) -> None:
    """All files anew, by npm. Raises SystemExit where one is another than it was."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(
                ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
                cwd=scratch,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as opened:
                for inside, (name, sha256) in package.files.items():
                    member = opened.extractfile(f"package/{inside}")
                    content = b"" if member is None else member.read()
                    if hashlib.sha256(content).hexdigest() != sha256:
                        raise SystemExit(
                            f"{package.name} {package.version}: {inside} is another file than it "
                            "was when it was looked at; look at it again before it is used"
                        )
                    (folder / name).write_bytes(content)


def main() -> None:
    if "--check" not in sys.argv[1:]:
        fetch()
    found = problems()
    for sentence in found:
        print(sentence)
    if found:
        raise SystemExit(1)
    for one in PACKAGES:
        print(f"{one.name} {one.version} ({one.licence}): as named")


if __name__ == "__main__":
    main()
