"""Files and functions stay short enough to be read in one go, or say why they are not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 500, 60
FILE_REASON, FUNCTION_REASONS = "In one file", ("Long by", "In one piece")


def sources() -> Iterator[tuple[str, str]]:
    for room in ("monitor", "model"):
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_no_file_is_longer_than_can_be_read_without_a_reason() -> None:
    long = {
        name: len(text.splitlines())
        for name, text in sources()
        if len(text.splitlines()) > MOST_LINES_OF_A_FILE and FILE_REASON not in text
    }
    assert long == {}


def test_no_function_is_longer_than_can_be_seen_at_once_without_a_reason() -> None:
    long = {}
    for name, text in sources():
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first, last = node.lineno, node.end_lineno or node.lineno
            said = "\n".join(lines[first - 1 : last])
            if last - first >= MOST_LINES_OF_A_FUNCTION and not any(
                reason in said for reason in FUNCTION_REASONS
            ):
                long[f"{name}: {node.name}"] = last - first + 1
    assert long == {}
