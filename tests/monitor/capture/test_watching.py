from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest
from watchdog.observers.api import BaseObserver

from monitor.capture.watching import Watcher, is_capture_name, list_captures, watch_kind
from monitor.config import SourceConfig


@pytest.mark.parametrize(
    "name",
    ["a.tif", "a.TIFF", "a b.ome.tif", "a.png", "a.jpeg", "皿.JPG", "a\nb.tif", "x" * 251 + ".tif"],
)
def test_images_are_captures(name):
    assert is_capture_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("a.txt", "a", "tif", ".tif", "", "notes.xml", "a.tif.xml"),
        *(".a.tif", "._a.tif", "~a.tif", "~syncthing~a.tif", ".syncthing.a.tif.tmp"),
        *(
            "a.tif.tmp",
            "a.tif.part",
            "a.tif.partial",
            "a.tif.crdownload",
            "a.tmp.tif",
            "a.part.png",
        ),
        *("Thumbs.db", "exp_A01_s1_thumb1A2B-3C.tif", "thumb.jpg", "a-thumbnail.png"),
    ],
)
def test_other_files_are_not(name):
    assert not is_capture_name(name)


@pytest.mark.parametrize(
    "name", ["thumbelina_20261102_0300.tif", "template.tif", "partial_lift.tif"]
)
def test_words_that_look_alike_do_no_harm(name):
    assert is_capture_name(name)


def listed(folder: Path) -> list[str]:
    return [os.fspath(path.relative_to(folder)) for path in list_captures(folder)]


def test_a_folder_is_listed_with_all_that_is_below_it_in_order(tmp_path):
    for name in (
        "b.tif",
        "a/2.tif",
        "a/10.tif",
        "a.tif",
        "c/d/e.png",
        "notes.txt",
        ".hidden/x.tif",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert listed(tmp_path) == ["a.tif", "b.tif", "a/10.tif", "a/2.tif", "c/d/e.png"]


def test_folders_of_the_system_are_left_out(tmp_path):
    for folder in ("@eaDir", "$RECYCLE.BIN", "lost+found", ".stversions"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tif").write_bytes(b"x")
    assert listed(tmp_path) == []


def test_only_regular_files_within_the_folder_are_listed(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "outside.tif").write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "in.tif").write_bytes(b"x")
    (source / "real.tif").write_bytes(b"x")
    (source / "inside.tif").symlink_to("real.tif")
    (source / "out.tif").symlink_to(tmp_path / "outside.tif")
    (source / "out").symlink_to(tmp_path / "outside")
    (source / "dangling.tif").symlink_to("nowhere.tif")
    (source / "self.tif").symlink_to("self.tif")
    (source / "one.tif").symlink_to("two.tif")
    (source / "two.tif").symlink_to("one.tif")
    (source / "circle").symlink_to(source)
    os.mkfifo(source / "fifo.tif")
    (source / "folder.tif").mkdir()
    (source / "folder.tif" / "within.tif").write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(source)  # a socket's path may have about 100 characters only
        try:
            listener.bind("socket.tif")
        finally:
            os.chdir(here)
        assert listed(source) == ["inside.tif", "real.tif", "folder.tif/within.tif"]


def test_a_source_may_itself_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.tif").write_bytes(b"x")
    (tmp_path / "real" / "b.tif").symlink_to("a.tif")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list(list_captures(tmp_path / "link")) == [
        tmp_path / "link" / "a.tif",
        tmp_path / "link" / "b.tif",
    ]


def test_names_of_any_bytes_survive(tmp_path):
    names = [b"d\xff.tif", b"new\nline.tif", b" .tif", "皿.tif".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    assert sorted(os.fsencode(path.name) for path in list_captures(tmp_path)) == sorted(names)


def test_a_missing_folder_lists_nothing_and_says_so(tmp_path, caplog):
    assert listed(tmp_path / "gone") == []
    assert "gone" in caplog.text and "cannot be listed" in caplog.text


# --- how to watch -------------------------------------------------------------------------------

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/imager rw - cifs //imager/out rw
31 22 0:41 / /mnt/my\\040share rw shared:5 - fuse.sshfs user@host: rw
32 22 0:42 / /mnt/nas rw - nfs4 nas:/captures rw
33 32 0:43 / /mnt/nas/scratch rw - xfs /dev/sdb1 rw
34 22 0:44 / /mnt/twice rw - ext4 /dev/sdc1 rw
35 22 0:45 / /mnt/twice rw - 9p share rw
garbage
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/in", "events"),
        ("/mnt/imager/plate 1", "polling"),
        ("/mnt/imager", "polling"),
        ("/mnt/imager-2", "events"),
        ("/mnt/my share/x", "polling"),
        ("/mnt/nas/x", "polling"),
        ("/mnt/nas/scratch/x", "events"),
        ("/mnt/twice", "polling"),
    ],
)
def test_the_file_system_decides_how_a_folder_is_watched(tmp_path, folder, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    found, why = watch_kind(Path(folder), "auto", mounts=mounts)
    assert found == kind and why


def test_the_configuration_has_the_last_word(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert watch_kind(Path("/mnt/nas/x"), "events", mounts=mounts)[0] == "events"
    assert watch_kind(Path("/data"), "polling", mounts=mounts)[0] == "polling"
    assert watch_kind(Path("/data"), "auto", mounts=tmp_path / "none")[0] == "events"


# --- the real thing -----------------------------------------------------------------------------


class Noticed:
    """Collects what a watcher tells of, and waits for it."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()
        self._changed = threading.Condition()

    def __call__(self, path: Path) -> None:
        with self._changed:
            self.paths.add(path)
            self._changed.notify_all()

    def wait_for(self, *paths: Path) -> None:
        with self._changed:
            arrived = self._changed.wait_for(lambda: self.paths.issuperset(paths), timeout=20)
        assert arrived, f"not noticed: {set(paths) - self.paths}"


def source_of(folder: Path, watch: str = "events") -> SourceConfig:
    return SourceConfig(name="imager", path=folder, watch=watch, poll_s=0.05)


@pytest.fixture(params=["events", "polling"])
def watched(request, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    noticed = Noticed()
    watcher = Watcher(source_of(folder, request.param), noticed)
    watcher.start()
    assert watcher.present and watcher.watched_by == request.param
    yield folder, noticed, watcher
    watcher.stop()


def test_files_are_noticed_however_they_arrive(watched, tmp_path):
    folder, noticed, _ = watched
    (folder / "written.tif").write_bytes(b"x")
    noticed.wait_for(folder / "written.tif")

    (folder / "renamed.tif.tmp").write_bytes(b"x")
    (folder / "renamed.tif.tmp").rename(folder / "renamed.tif")
    (tmp_path / "moved.tif").write_bytes(b"x")
    (tmp_path / "moved.tif").rename(folder / "moved.tif")
    strange = os.fsdecode(b"strange\xff\n.tif")
    (folder / strange).write_bytes(b"x")
    noticed.wait_for(*(folder / name for name in ("renamed.tif", "moved.tif", strange)))

    (tmp_path / "plate" / "deep").mkdir(parents=True)
    (tmp_path / "plate" / "deep" / "a.tif").write_bytes(b"x")
    (tmp_path / "plate").rename(folder / "plate")
    noticed.wait_for(folder / "plate" / "deep" / "a.tif")
    (folder / "plate" / "deep" / "b.tif").write_bytes(b"x")
    noticed.wait_for(folder / "plate" / "deep" / "b.tif")

    noticed.paths.clear()
    with (folder / "written.tif").open("ab") as file:
        file.write(b"more")
    noticed.wait_for(folder / "written.tif")
    assert not any(path.suffix == ".tmp" for path in noticed.paths)


def test_a_folder_that_vanishes_and_comes_back_is_watched_again(watched, tmp_path):
    folder, noticed, watcher = watched
    (folder / "a.tif").write_bytes(b"x")
    noticed.wait_for(folder / "a.tif")
    shutil.rmtree(folder)
    assert watcher.rescan() == 0
    assert not watcher.present and "not there" in watcher.reason

    folder.mkdir()
    (folder / "b.tif").write_bytes(b"x")
    assert watcher.rescan() == 1 and watcher.present
    assert folder / "b.tif" in noticed.paths
    (folder / "c.tif").write_bytes(b"x")
    noticed.wait_for(folder / "c.tif")


def test_a_folder_that_was_replaced_between_two_rescans_is_watched_again(watched, tmp_path):
    folder, noticed, watcher = watched
    folder.rename(tmp_path / "old")
    folder.mkdir()
    assert watcher.rescan() == 0 and watcher.present
    (folder / "new.tif").write_bytes(b"x")
    noticed.wait_for(folder / "new.tif")


def test_a_folder_that_is_missing_at_start_is_no_error(tmp_path):
    noticed = Noticed()
    watcher = Watcher(source_of(tmp_path / "later"), noticed)
    watcher.start()
    try:
        assert not watcher.present and watcher.rescan() == 0
        (tmp_path / "later").mkdir()
        assert watcher.rescan() == 0 and watcher.present
        (tmp_path / "later" / "a.tif").write_bytes(b"x")
        noticed.wait_for(tmp_path / "later" / "a.tif")
    finally:
        watcher.stop()


def test_a_linked_source_names_its_files_by_the_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    noticed = Noticed()
    watcher = Watcher(source_of(tmp_path / "link"), noticed)
    watcher.start()
    try:
        (tmp_path / "real" / "a.tif").write_bytes(b"x")
        noticed.wait_for(tmp_path / "link" / "a.tif")
    finally:
        watcher.stop()


def test_a_rescan_finds_what_is_there_without_being_started(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"x")
    noticed = Noticed()
    watcher = Watcher(source_of(tmp_path), noticed)
    assert watcher.rescan() == 1 and noticed.paths == {tmp_path / "a.tif"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_where_the_system_has_no_events_left_it_polls(tmp_path, number):
    def observers() -> BaseObserver:
        raise OSError(number, os.strerror(number))

    noticed = Noticed()
    watcher = Watcher(source_of(tmp_path), noticed, observers=observers)
    watcher.start()
    try:
        assert watcher.watched_by == "polling" and "inotify" in watcher.reason
        (tmp_path / "a.tif").write_bytes(b"x")
        noticed.wait_for(tmp_path / "a.tif")
    finally:
        watcher.stop()


def test_a_callee_that_fails_does_not_end_the_watching(tmp_path, caplog):
    noticed = Noticed()

    def fails_once(path: Path) -> None:
        noticed(path)
        if path.name == "a.tif":
            raise RuntimeError("disk full")

    watcher = Watcher(source_of(tmp_path), fails_once)
    watcher.start()
    try:
        (tmp_path / "a.tif").write_bytes(b"x")
        noticed.wait_for(tmp_path / "a.tif")
        (tmp_path / "b.tif").write_bytes(b"x")
        noticed.wait_for(tmp_path / "b.tif")
    finally:
        watcher.stop()
    assert "disk full" in caplog.text


def test_stopping_ends_every_thread(tmp_path):
    before = set(threading.enumerate())
    watcher = Watcher(source_of(tmp_path), Noticed())
    watcher.start()
    assert set(threading.enumerate()) - before
    watcher.stop()
    left = [one for one in threading.enumerate() if one not in before]
    # watchdog's reader of the kernel's events is shared and may outlive one observer.
    assert not [one for one in left if isinstance(one, BaseObserver)]
    assert watcher.rescan() == 0


@pytest.fixture(params=["events", "polling"])
def replaced(request, tmp_path):
    """A source that is watched, and what was told of as made or renamed."""
    folder = tmp_path / "source"
    folder.mkdir()
    noticed, made = Noticed(), Noticed()

    def both(path: Path) -> None:
        made(path)
        noticed(path)

    watcher = Watcher(source_of(folder, request.param), noticed, replaced=both)
    watcher.start()
    yield folder, noticed, made
    watcher.stop()


def test_rotated_names_are_told_of_as_other_files(replaced):
    """a -> b, b -> c, a new one: in whatever order it is told, each path holds another file now,
    also where size and time say nothing.
    """
    folder, noticed, made = replaced
    for name in ("a.tif", "b.tif"):
        (folder / name).write_bytes(name.encode())
        os.utime(folder / name, (1.7e9, 1.7e9))
    noticed.wait_for(folder / "a.tif", folder / "b.tif")
    made.paths.clear()
    (folder / "b.tif").rename(folder / "c.tif")
    (folder / "a.tif").rename(folder / "b.tif")
    (folder / "a.tif").write_bytes(b"a.new")
    os.utime(folder / "a.tif", (1.7e9, 1.7e9))
    made.wait_for(folder / "b.tif", folder / "c.tif")
    noticed.wait_for(folder / "a.tif")


def test_a_share_that_comes_back_between_two_rescans_goes_on_being_polled(tmp_path):
    """The watch library's polling ends there without a word, while it calls itself alive."""
    folder, noticed = tmp_path / "source", Noticed()
    folder.mkdir()
    watcher = Watcher(source_of(folder, "polling"), noticed)
    watcher.start()
    try:
        (folder / "a.tif").write_bytes(b"x")
        noticed.wait_for(folder / "a.tif")
        for number in range(3):
            folder.rename(tmp_path / "away")
            (tmp_path / "away").rename(folder)
            shutil.rmtree(folder)
            folder.mkdir()
            (folder / f"{number}.tif").write_bytes(b"x")
            noticed.wait_for(folder / f"{number}.tif")
    finally:
        watcher.stop()
