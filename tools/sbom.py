"""The software bill of materials of a user's installation, as CycloneDX JSON.

Usage: python -m tools.sbom FILE [EXTRA ...]    (without extras: the plain installation)

CycloneDX's own program lists what is installed here. What the installation brings is kept of it,
and the JavaScript that lies in the package is added.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tools.licences import brought_by
from tools.vendored import PACKAGES, Package

ROOT = Path(__file__).parents[1]


def only(document: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Of a bill of materials the components of these names, and what depends on what of them."""
    kept = [one for one in document["components"] if canonicalize_name(one["name"]) in names]
    known = {one["bom-ref"] for one in kept} | {document["metadata"]["component"]["bom-ref"]}
    depends = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in known]}
        for one in document.get("dependencies", ())
        if one["ref"] in known
    ]
    return {**document, "components": kept, "dependencies": depends}


def component_of(package: Package) -> dict[str, Any]:
    """Of JavaScript that lies in the package as it came from npm."""
    return {
        "bom-ref": f"npm-{package.name}",
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": f"pkg:npm/{package.name}@{package.version}",
        "licenses": [{"license": {"id": package.licence}}],
        "components": [
            {
                "bom-ref": f"npm-{package.name}-{name}",
                "type": "file",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": sha256}],
            }
            for name, sha256 in package.files.values()
        ],
    }


def main(words: list[str]) -> int:
    if not words:
        print(__doc__, file=sys.stderr)
        return 2
    target, extras = Path(words[0]), frozenset(words[1:])
    try:
        names = brought_by("colonywatch", extras, set()) - {"colonywatch"}
    except PackageNotFoundError as problem:
        print(f"{problem.name}: is not installed; run make setup first", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "all.json"
        made = subprocess.run(
            [sys.executable, "-m", "cyclonedx_py", "environment", "--output-format", "JSON",
             "--output-reproducible", "--pyproject", str(ROOT / "pyproject.toml"),
             "--output-file", str(whole), sys.prefix],
            check=False,
        )  # fmt: skip
        if made.returncode:
            return made.returncode
        document = only(json.loads(whole.read_text(encoding="utf-8")), names)
    document["components"] += [component_of(one) for one in PACKAGES]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{len(document['components'])} components in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
