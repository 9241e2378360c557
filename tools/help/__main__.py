"""Build the documentation: `python -m tools.help`.

Reads docs/, writes the reference from the code, builds with Sphinx (warnings are errors), and lays
the pages where `colonywatch serve` finds them, so that they are part of a wheel that is built then.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.help.external import take_out
from tools.help.reference import write_all

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TARGET = ROOT / "monitor" / "outlets" / "dashboard" / "help"
# Pages that lie elsewhere, beside what they are about.
ELSEWHERE = {"deploy/README.md": "install.md", "model/weights/starter/card.md": "starter-card.md",
             "CHANGELOG.md": "changelog.md"}  # fmt: skip
_ADDRESSES = {
    "../model/weights/starter/card.md": "starter-card.md",
    "../deploy/README.md": "install.md",
    "../docs/": "",
    "](docs/": "](",
}


def with_all_pages(index: str, source: Path) -> str:
    """The index with a further list at its end, of pages that none of its lists names."""
    named = set(re.findall(r"^([\w/-]+)$", index, re.MULTILINE)) | {"index"}
    pages = sorted(source.glob("*.md")) + sorted((source / "how-to").glob("*.md"))
    others = [
        name
        for name in (str(page.relative_to(source).with_suffix("")) for page in pages)
        if name not in named
    ]
    if not others:
        return index
    lines = "\n".join(others)
    return f"{index}\n```{{toctree}}\n:caption: More\n:hidden:\n\n{lines}\n```\n"


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        source, built = Path(scratch) / "docs", Path(scratch) / "html"
        shutil.copytree(DOCS, source)
        for path, name in ELSEWHERE.items():
            shutil.copy(ROOT / path, source / name)
            for picture in (ROOT / path).parent.glob("*.[jp][pn]g"):
                shutil.copy(picture, source / picture.name)
        for page in source.rglob("*.md"):
            text = page.read_text(encoding="utf-8")
            for there, here in _ADDRESSES.items():
                text = text.replace(there, here)
            page.write_text(text, encoding="utf-8")
        write_all(source / "reference")
        index = source / "index.md"
        index.write_text(with_all_pages(index.read_text(encoding="utf-8"), source), "utf-8")
        code = subprocess.run(
            [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-E",
             "-d", f"{scratch}/doctrees", str(source), str(built)],
            check=False,
        ).returncode  # fmt: skip
        if code:
            return code
        left = take_out(built)
        for one in left:
            print(f"the pages' policy would not let this run: {one}", file=sys.stderr)
        if left:
            return 1
        for name in (".buildinfo", "objects.inv", "_sources"):
            path = built / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(built, TARGET)
    pages = len(list(TARGET.rglob("*.html")))
    size = sum(one.stat().st_size for one in TARGET.rglob("*") if one.is_file())
    print(f"{pages} pages, {size / 2**20:.1f} MB, in {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
