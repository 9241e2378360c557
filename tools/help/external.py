"""Scripts and styles out of the pages into files: the pages' policy lets no others run."""

from __future__ import annotations

import hashlib
import html
import os
import re
from pathlib import Path

_RULES = "_static/inline/rules.css"
_SCRIPT = re.compile(r"<script(?P<attributes>(?:\s[^>]*)?)>(?P<code>.*?)</script>", re.S | re.I)
_STYLE = re.compile(r"<style(?:\s[^>]*)?>(?P<code>.*?)</style>", re.S | re.I)
_STYLED = re.compile(r"<[a-z][^>]*?(?P<said>\sstyle\s*=\s*\"(?P<rule>[^\"]*)\")[^>]*>", re.I)
_CLASS = re.compile(r"\sclass\s*=\s*\"", re.I)
# What no file can take the place of.
_LEFT = re.compile(r"<[a-z][^>]*\s(?:on[a-z]+|style)\s*=", re.I)


def take_out(folder: Path) -> list[str]:
    """All pages of a folder. Returns what is left in them that the policy would not let run."""
    left = []
    rules: dict[str, str] = {}

    def styled(found: re.Match[str]) -> str:
        """A class instead, whose rule stands in a file."""
        name = "s" + hashlib.sha256(found["rule"].encode()).hexdigest()[:8]
        # Thrice, so that it counts more than rules for classes, as what stands at the tag does.
        rules[name] = f".{name}.{name}.{name}{{{html.unescape(found['rule'])}}}"
        tag = found[0].replace(found["said"], "", 1)
        if _CLASS.search(tag):
            return _CLASS.sub(f' class="{name} ', tag, count=1)
        return re.sub(r"^<([a-zA-Z]+)", rf'<\1 class="{name}"', tag, count=1)

    for page in sorted(folder.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        above = os.path.relpath(folder, page.parent)

        def file_for(code: str, suffix: str, above: str = above) -> str:
            name = f"{hashlib.sha256(code.encode()).hexdigest()[:16]}.{suffix}"
            target = folder / "_static" / "inline" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(code, encoding="utf-8")
            return f"{above}/_static/inline/{name}"

        def script(found: re.Match[str]) -> str:
            attributes, code = found["attributes"], found["code"]
            if re.search(r"\ssrc\s*=", attributes, re.I) or "json" in attributes.lower():
                return found[0]
            return f'<script{attributes} src="{file_for(code, "js")}"></script>'

        def style(found: re.Match[str]) -> str:
            return f'<link rel="stylesheet" href="{file_for(found["code"], "css")}">'

        text = _STYLED.sub(styled, _STYLE.sub(style, _SCRIPT.sub(script, text)))
        link = f'<link rel="stylesheet" href="{above}/{_RULES}">'
        text = text.replace("</head>", f"{link}</head>", 1)
        page.write_text(text, encoding="utf-8")
        left += [f"{page.relative_to(folder)}: {one[0][:80]}" for one in _LEFT.finditer(text)]
    (folder / _RULES).parent.mkdir(parents=True, exist_ok=True)
    (folder / _RULES).write_text("\n".join(rules[name] for name in sorted(rules)), "utf-8")
    return left
