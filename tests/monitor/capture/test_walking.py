from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor.capture.polling import Poller
from monitor.capture.walking import WalkLimits, lies_within, list_captures, walk
from monitor.capture.watching import Watcher
from monitor.config import SourceConfig


def links_to_itself(folder: Path) -> None:
    (folder / "circle").symlink_to(folder)


def links_up(folder: Path) -> None:
    (folder / "up").symlink_to("..")


def links_across(folder: Path) -> None:
    (folder / "one" / "two").mkdir(parents=True)
    (folder / "one" / "to-two").symlink_to(folder / "one" / "two")
    (folder / "one" / "two" / "to-one").symlink_to(folder / "one")


def many_links_to_one_another(folder: Path) -> None:
    """Followed, these are more paths than anybody could look at: n folders have n! ways."""
    for number in range(12):
        (folder / f"f{number}").mkdir()
    for one in range(12):
        for other in range(12):
            (folder / f"f{one}" / f"to-{other}").symlink_to(folder / f"f{other}")


def links_to_the_root(folder: Path) -> None:
    (folder / "everything").symlink_to("/")


def links_to_links(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    (folder / "c.tif").symlink_to("c.tif")


def links_out(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "stranger.tif").write_bytes(b"x")
    (folder / "outside").symlink_to(outside)
    (folder / "stranger.tif").symlink_to(outside / "stranger.tif")
    (folder / "plates.zarr").symlink_to(outside)


def links_out_by_way_of_inside(folder: Path) -> None:
    links_out(folder)
    (folder / "by-way.tif").symlink_to("outside/stranger.tif")
    (folder / "twice.tif").symlink_to("by-way.tif")


LAYOUTS = (
    *(links_to_itself, links_up, links_across, many_links_to_one_another, links_to_the_root),
    *(links_to_links, links_out, links_out_by_way_of_inside),
)


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.__name__)
def source(request, tmp_path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.tif").write_bytes(b"x")
    request.param(folder)
    return folder


def polled(folder: Path, **options) -> list[Path]:
    found: list[Path] = []
    real = os.path.realpath(folder)
    Poller(folder, found.append, found.append, every_s=1, root=real, **options).look()
    return found


def test_polling_and_rescan_see_the_same_whatever_links_lie_there(source):
    """The polling of the watch library follows links to folders, which with some never ends."""
    expected = [source / "a.tif"]
    assert list(list_captures(source)) == expected
    assert polled(source) == expected
    rescanned: list[Path] = []
    watcher = Watcher(SourceConfig(name="imager", path=source), rescanned.append)
    assert watcher.rescan() == 1 and rescanned == expected


def test_a_deep_folder_ends_with_a_word(tmp_path):
    deep = tmp_path.joinpath(*["d"] * 70)
    deep.mkdir(parents=True)
    (deep / "a.tif").write_bytes(b"x")
    (tmp_path / "b.tif").write_bytes(b"x")
    said: list[str] = []
    assert list(list_captures(tmp_path, complain=said.append)) == [tmp_path / "b.tif"]
    (text,) = said
    assert "more than 64 folders deep" in text and "Make it a source of its own" in text


def test_a_path_that_is_too_long_for_the_system_ends_with_a_word(tmp_path):
    name = "d" * 200
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    said: list[str] = []
    assert list(list_captures(tmp_path, complain=said.append)) == []
    (text,) = said
    assert "File name too long" in text
    subprocess.run(["rm", "-rf", tmp_path / name], check=True)


def test_more_than_can_be_looked_at_ends_with_a_word(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02}.tif").write_bytes(b"x")
    said: list[str] = []
    found = list(walk(tmp_path, complain=said.append, limits=WalkLimits(entries=20)))
    assert len(found) == 21
    (text,) = said
    assert "more than 20 files and folders" in text and "several sources" in text


def test_a_walk_ends_when_it_is_told_to(tmp_path):
    for number in range(3):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "a.tif").write_bytes(b"x")
    found: list[Path] = []
    for one in walk(tmp_path, ended=lambda: len(found) == 2):
        found.append(one.path)
    assert found == [tmp_path / "d0" / "a.tif", tmp_path / "d1" / "a.tif"]


def test_a_file_reached_by_a_link_that_came_later_is_not_the_sources(tmp_path):
    source, outside = tmp_path / "source", tmp_path / "outside"
    (source / "plate").mkdir(parents=True)
    outside.mkdir()
    for folder in (source / "plate", outside):
        (folder / "a.tif").write_bytes(b"x")
    assert lies_within(source / "plate" / "a.tif", source)
    (source / "plate").rename(tmp_path / "gone")
    (source / "plate").symlink_to(outside)
    assert (source / "plate" / "a.tif").exists()
    assert not lies_within(source / "plate" / "a.tif", source)


# --- mounts ---------------------------------------------------------------------------------------


@contextmanager
def mounted(*words: str | Path) -> Iterator[None]:
    made = subprocess.run(["mount", *map(str, words)], check=False, capture_output=True)
    if made.returncode != 0:
        pytest.skip("this account may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(words[-1])], check=True)


def test_a_folder_that_is_mounted_into_itself_is_seen_once(tmp_path):
    for name in ("source/a/x.tif", "source/loop/.keep", "source/again/.keep", "outside/y.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    source = tmp_path / "source"
    (source / "other").mkdir()
    noticed: list[Path] = []
    watcher = Watcher(SourceConfig(name="imager", path=source), noticed.append)
    with (
        mounted("--bind", source, source / "loop"),
        mounted("--bind", source / "a", source / "again"),
        mounted("--bind", tmp_path / "outside", source / "other"),
    ):
        watcher.start()
        try:
            assert watcher.rescan() == 2
            # Polling and rescan may both tell of a file; it is under one name each time.
            assert set(noticed) == {source / "a" / "x.tif", source / "other" / "y.tif"}
            how = {Path(one.path).name: (one.watched_by, one.why) for one in watcher.below}
        finally:
            watcher.stop()
        assert list(list_captures(source)) == [source / "a" / "x.tif", source / "other" / "y.tif"]
        # A folder in itself is not entered where no list tells of it, too.
        said: list[str] = []
        paths = [found.path for found in walk(source, complain=said.append)]
        assert source / "loop" / "a" / "x.tif" not in paths
        assert "contains itself" in said[0]
    assert how["loop"] == ("not", f"it repeats what is in {source}")
    assert how["again"] == ("not", f"it repeats what is in {source / 'a'}")
    assert how["other"] == ("polling", "like the source that it is in")
    assert watcher.watched_by == "polling" and "under either name" in watcher.reason


def test_what_is_mounted_below_a_source_is_noticed_and_watched(tmp_path):
    source = tmp_path / "source"
    (source / "disk").mkdir(parents=True)
    noticed: list[Path] = []
    watcher = Watcher(SourceConfig(name="imager", path=source, poll_s=0.05), noticed.append)
    watcher.start()
    try:
        assert not watcher.is_otherwise() and watcher.below == ()
        with mounted("-t", "tmpfs", "tmpfs", source / "disk"):
            (source / "disk" / "a.tif").write_bytes(b"x")
            assert watcher.is_otherwise()
            assert watcher.rescan() == 1 and noticed == [source / "disk" / "a.tif"]
            assert not watcher.is_otherwise()
            (one,) = watcher.below
            assert (one.file_system, one.watched_by) == ("tmpfs", "events")
        assert watcher.is_otherwise()
        assert watcher.rescan() == 0 and watcher.below == ()
    finally:
        watcher.stop()


def test_a_share_below_a_source_that_tells_of_its_files_is_polled_by_itself(tmp_path):
    source = tmp_path / "source"
    (source / "nas" / "deep").mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:40 / {source}/nas rw - nfs4 nas:/a rw\n"
        f"41 40 0:41 / {source}/nas/deep rw - cifs //nas/b rw\n"
    )
    polled_files: list[Path] = []

    class NoEvents:
        """Stands for the kernel, which tells nothing of what another machine does."""

        emitters = ()

        def schedule(self, handler, path, *, recursive):
            del handler, path, recursive

        def start(self):
            pass

        stop = join = start

        def is_alive(self):
            return True

    watcher = Watcher(
        SourceConfig(name="imager", path=source, poll_s=0.05),
        polled_files.append,
        observers=NoEvents,
        mounts=mounts,
    )
    watcher.start()
    try:
        assert watcher.watched_by == "events"
        assert [(one.file_system, one.watched_by) for one in watcher.below] == [
            ("nfs4", "polling"),
            ("cifs", "polling"),
        ]
        (poller,) = watcher._pollers  # what lies in a share is looked through with it
        (source / "nas" / "deep" / "a.tif").write_bytes(b"x")
        poller.look()
        assert source / "nas" / "deep" / "a.tif" in polled_files
    finally:
        watcher.stop()


def test_a_share_that_is_no_longer_mounted_is_gone_though_its_folder_is_there(tmp_path):
    """Its empty folder would look like an imager that has nothing new."""
    source = tmp_path / "source"
    source.mkdir()
    watcher = Watcher(SourceConfig(name="imager", path=source), lambda path: None)
    with mounted("-t", "tmpfs", "tmpfs", source):
        watcher.start()
        assert watcher.rescan() == 0 and watcher.present
    try:
        assert watcher.rescan() == 0 and not watcher.present
        assert watcher.reason == "nothing is mounted there any longer"
        with mounted("-t", "tmpfs", "tmpfs", source):
            (source / "a.tif").write_bytes(b"x")
            assert watcher.rescan() == 1 and watcher.present
    finally:
        watcher.stop()
