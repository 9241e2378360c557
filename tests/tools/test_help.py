"""What the documentation says is what the program does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.config import Config
from tests.monitor.commands.calls import DONE, call, spawn
from tools.help.__main__ import with_all_pages
from tools.help.external import take_out
from tools.help.reference import (
    all_commands,
    commands_page,
    configuration_page,
    described,
    exit_codes_page,
    remarks_in,
    shortened,
)

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "deploy" / "README.md"])
# At the beginning of a line of a block: what a person is to type.
_TYPED = re.compile(
    r"^(?:    |\$ |)\s*(?:sudo |\$ )?(?:\.venv/bin/)?colonywatch ([a-z].*)$", re.MULTILINE
)
_BLOCKS = re.compile(r"^```(?:console|text|)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def typed_in(page: Path) -> Iterator[list[str]]:
    text = page.read_text(encoding="utf-8")
    blocks = [*_BLOCKS.findall(text), *re.findall(r"^    \S.*$", text, re.MULTILINE)]
    for block in blocks:
        for line in _TYPED.findall(block):
            yield shlex.split(line.replace("...", ""), comments=True)


@pytest.fixture(scope="module")
def commands():
    return dict(all_commands())


def test_every_command_that_a_page_names_is_one_with_these_options(commands) -> None:
    wrong, count = [], 0
    for page in PAGES:
        for words in typed_in(page):
            count += 1
            called = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in commands), None)
            shown = f"{page.relative_to(ROOT)}: colonywatch {shlex.join(words)}"
            if called is None:
                wrong.append(f"{shown}: no such command")
                continue
            known = {one for param in commands[called].params
                     for one in (*param.opts, *param.secondary_opts)} | {"--help"}  # fmt: skip
            options = [word for word in words if re.fullmatch(r"--[a-z-]+", word)]
            wrong += [f"{shown}: no option {one}" for one in options if one not in known]
    assert wrong == []
    assert count > 50


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Each of its commands, one after the other, as somebody new would type them."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    said: dict[str, str] = {}
    for block in re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ colonywatch "))
            # Those that work with the network have a process of their own, as everywhere.
            run = spawn if words[0] == "process" else call
            answer = run(*words, folder=tmp_path)
            assert answer.code == DONE, f"{line}: {answer.err}"
            said[words[0]] = answer.out + answer.err
    assert "dish-time fits 3 of 3" in said["process"]
    assert "the chain is whole" in said["audit"]
    assert list((tmp_path / "trial" / "overlays").rglob("*.jpg"))
    assert (tmp_path / "series.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "series.csv").read_text().count("\n") == 4


def test_the_reference_has_every_command_with_its_options(commands) -> None:
    page = commands_page()
    for words, command in commands.items():
        assert re.search(rf"^##+ {re.escape(' '.join(words))}$", page, re.MULTILINE), words
        for param in command.params:
            assert all(f"`{name}" in page for name in param.opts if name.startswith("--"))


def test_the_reference_has_every_key_and_what_is_said_of_it() -> None:
    page = configuration_page()
    for section in ("sources[]", "decisions.removal", "outlets.email", "compute", "record"):
        assert f"\n## `{section}`\n" in page
    assert "| `timezone` | text | `UTC` | the imager's own clock" in page
    about, told = described(Config)
    assert about == "The whole configuration."
    assert told["unlisted"].startswith("what holds for paths")


def test_remarks_are_those_of_the_key_they_stand_behind() -> None:
    text = f"a:\n  b: 1   # first\n{' ' * 25}# and on\n  # of the next\n  c: 2\nd: 3  # last\n"
    assert remarks_in(text) == {"a.b": "first and on", "d": "last"}


def test_exit_codes_are_those_of_the_program() -> None:
    page = exit_codes_page()
    for code in (0, 1, 2, 78, 130):
        assert f"| {code} | " in page


def test_documents_are_shown_cut_short() -> None:
    assert shortened({"a": [1, 2, 3], "b": "x" * 200, "c": [[1, 2, 3, 4]]}) == {
        "a": [1, 2, "…"], "b": "x" * 120 + "…", "c": [[1, 2, "…"]],
    }  # fmt: skip


def test_a_page_that_no_list_names_is_in_one_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "how-to").mkdir()
    for name in ("index", "alerts", "how-to/known", "how-to/new", "more"):
        (tmp_path / f"{name}.md").write_text("# A page\n")
    index = "# All\n\n```{toctree}\n\nalerts\nhow-to/known\n```\n"
    found = with_all_pages(index, tmp_path)
    assert found.startswith(index)
    assert found[len(index) :].split()[-3:] == ["more", "how-to/new", "```"]
    assert with_all_pages(found, tmp_path) == found


def test_what_the_policy_would_stop_goes_into_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    page = tmp_path / "deep" / "a.html"
    page.write_text(
        "<head><style>p{}</style><script>run()</script><script src='b.js'></script></head>"
        '<p style="color:red" class="x">a</p><p style="color:red">b</p><b onclick="x()">c</b>'
    )
    left = take_out(tmp_path)
    text = page.read_text()
    assert left == ["deep/a.html: <b onclick="]
    assert "run()" not in text
    assert "<style" not in text
    assert "style=" not in text
    for address in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert (page.parent / address).resolve().is_file(), address
    assert len(set(re.findall(r'class="(s\w+)', text))) == 1
