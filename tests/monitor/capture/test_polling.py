from __future__ import annotations

import os
import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.polling import Poller, Troubles


class Looks:
    """A poller that is looked through by hand, and what it told of in a look."""

    def __init__(self, folder: Path) -> None:
        self.new: list[str] = []
        self.replaced: list[str] = []
        self.poller = Poller(
            folder,
            lambda path: self.new.append(path.name),
            lambda path: self.replaced.append(path.name),
            every_s=1,
            root=os.path.realpath(folder),
        )

    def look(self) -> tuple[list[str], list[str]]:
        self.new.clear()
        self.replaced.clear()
        self.poller.look()
        return list(self.new), list(self.replaced)


def frame(path: Path, content: bytes, *, at: float = 1_700_000_000.0) -> None:
    """Written with a time of its own: a share may keep whole seconds only."""
    path.write_bytes(content)
    os.utime(path, (at, at))


def test_what_is_new_or_changed_is_told_once(tmp_path):
    looks = Looks(tmp_path)
    frame(tmp_path / "a.tif", b"1")
    assert looks.look() == (["a.tif"], [])
    assert looks.look() == ([], [])
    frame(tmp_path / "b.tif", b"1")
    frame(tmp_path / "a.tif", b"12")
    assert looks.look() == (["a.tif", "b.tif"], [])
    frame(tmp_path / "a.tif", b"34", at=1_700_000_001.0)
    assert looks.look() == (["a.tif"], [])


def test_rotated_names_are_told_though_all_look_alike(tmp_path):
    """A ring of file names whose frames are of one size and, on many shares, of one second: by
    size and time nothing has changed.
    """
    looks = Looks(tmp_path)
    for name in ("a.tif", "b.tif"):
        frame(tmp_path / name, name.encode())
    looks.look()
    (tmp_path / "b.tif").rename(tmp_path / "c.tif")
    (tmp_path / "a.tif").rename(tmp_path / "b.tif")
    frame(tmp_path / "a.tif", b"a.new")
    new, replaced = looks.look()
    assert sorted(new + replaced) == ["a.tif", "b.tif", "c.tif"]
    assert {"b.tif", "c.tif"} <= set(replaced)


@given(
    order=st.permutations(["a.tif", "b.tif", "c.tif", "d.tif"]),
    overwritten=st.sets(st.sampled_from(["a.tif", "b.tif", "c.tif", "d.tif"])),
)
def test_whatever_the_names_are_changed_to_each_path_that_holds_another_file_is_told(
    tmp_path_factory, order, overwritten
):
    folder = tmp_path_factory.mktemp("ring")
    names = ["a.tif", "b.tif", "c.tif", "d.tif"]
    looks = Looks(folder)
    for name in names:
        frame(folder / name, name.encode())
    looks.look()
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).rename(folder / f".{name}")
    for old, new in zip(names, order, strict=True):
        (folder / f".{old}").rename(folder / new)
    for number, name in enumerate(sorted(overwritten)):
        frame(folder / name, f"anew-{number}".encode())
    changed = {name for name in names if (folder / name).read_bytes() != before[name]}
    new, replaced = looks.look()
    assert changed <= set(new + replaced)
    shutil.rmtree(folder)


def test_a_folder_that_goes_away_and_comes_back_is_looked_through_again(tmp_path):
    folder, kept = tmp_path / "share", tmp_path / "kept"
    folder.mkdir()
    frame(folder / "a.tif", b"1")
    looks = Looks(folder)
    looks.look()
    folder.rename(kept)
    assert looks.look() == ([], [])
    assert "cannot be listed" in looks.poller.troubles.texts[0]
    kept.rename(folder)
    frame(folder / "b.tif", b"2")
    assert looks.look() == (["b.tif"], [])
    assert looks.poller.troubles.texts == ()


def test_a_store_of_many_files_is_told_when_one_of_them_changes(tmp_path):
    looks = Looks(tmp_path)
    part = tmp_path / "plate.zarr" / "0" / "0"
    part.parent.mkdir(parents=True)
    frame(part, b"1")
    assert looks.look() == (["plate.zarr"], [])
    assert looks.look() == ([], [])
    frame(part, b"12")
    assert looks.look() == (["plate.zarr"], [])


def test_a_trouble_is_said_once_for_as_long_as_it_lasts():
    said: list[str] = []
    troubles = Troubles(said.append)
    for texts in (["a"], ["a", "b"], [], ["a"]):
        troubles.begin()
        for text in texts:
            troubles(text)
        assert troubles.end() is bool(texts)
        assert troubles.texts == tuple(texts)
    assert said == ["a", "b", "a"]
