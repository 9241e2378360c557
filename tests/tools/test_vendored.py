"""The JavaScript of others in the package is what was looked at, and its licence goes with it."""

from __future__ import annotations

import shutil

from tools.vendored import FOLDER, PACKAGES, problems


def test_the_files_are_those_of_the_named_versions() -> None:
    assert problems() == []


def test_each_package_comes_with_its_licence() -> None:
    for package in PACKAGES:
        (licence,) = (name for name, _ in package.files.values() if "LICENSE" in name)
        text = (FOLDER / licence).read_text(encoding="utf-8")
        assert "Copyright" in text
        assert ("MIT" if package.licence == "MIT" else "Redistribution") in text


def test_a_changed_a_missing_and_a_strange_file_are_told(tmp_path) -> None:
    shutil.copytree(FOLDER, tmp_path / "vendored")
    (tmp_path / "vendored" / "uplot.min.js").write_text("alert(1)")
    (tmp_path / "vendored" / "uplot.min.css").unlink()
    (tmp_path / "vendored" / "other.js").write_text("")
    said = problems(tmp_path / "vendored")
    assert [one.split()[0] for one in said] == ["uplot.min.js", "uplot.min.css", "other.js"]


def test_nothing_in_it_asks_for_code_to_be_made_from_text() -> None:
    """The pages' Content-Security-Policy forbids it."""
    for path in FOLDER.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert "new Function(" not in text and "eval(" not in text
