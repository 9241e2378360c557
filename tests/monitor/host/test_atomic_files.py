from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from monitor.host.atomic_files import write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_all_folders_above_it(tmp_path):
    path = tmp_path / "a" / "b" / "plan.csv"
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"
    assert names(path.parent) == ["plan.csv"]


def test_an_existing_file_is_replaced_and_not_written_into(tmp_path):
    path = tmp_path / "plan.csv"
    write_whole(path, b"a longer first content")
    with path.open("rb") as old:
        write_whole(path, b"second")
        assert old.read() == b"a longer first content"
    assert path.read_bytes() == b"second"


def test_others_may_read_it_whatever_the_mask_of_the_program(tmp_path):
    mask = os.umask(0o077)
    try:
        write_whole(tmp_path / "plan.csv", b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "plan.csv").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".csv", "皿" * 83 + ".csv", "a b;c'd.csv", "-rf.csv", ".hidden"]
)
def test_any_name_that_the_disk_takes_can_be_written(tmp_path, name):
    write_whole(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


def test_nothing_is_left_behind_where_it_cannot_be_renamed(tmp_path):
    (tmp_path / "plan.csv").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "plan.csv", b"x")
    assert names(tmp_path) == ["plan.csv"]


def test_nothing_is_left_behind_where_it_cannot_be_written(tmp_path):
    path = tmp_path / "plan.csv"
    path.write_bytes(b"before")
    with pytest.raises(TypeError):
        write_whole(path, "text is no content")  # type: ignore[arg-type]
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["plan.csv"]


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_disk(tmp_path):
    (tmp_path / "picker").write_text("in the way")
    with pytest.raises(OSError, match=r"exists|directory"):
        write_whole(tmp_path / "picker" / "plan.csv", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_drop_folder_that_cannot_be_listed_takes_files(tmp_path):
    folder = tmp_path / "drop"
    folder.mkdir(mode=0o300)
    write_whole(folder / "plan.csv", b"x")
    folder.chmod(0o700)
    assert names(folder) == ["plan.csv"]


def test_who_polls_the_folder_never_sees_half_a_file(tmp_path):
    """A reader in a loop against fifty writes of two megabytes in turn."""
    path = tmp_path / "plan.csv"
    contents = [bytes([letter]) * 2_000_000 for letter in b"ab"]
    write_whole(path, contents[0])
    done = threading.Event()
    odd: list[str] = []
    looks = 0

    def poll() -> None:
        nonlocal looks
        while not done.is_set():
            looks += 1
            if path.read_bytes() not in contents:
                odd.append("half a file")
            odd.extend(
                one.name
                for one in tmp_path.iterdir()
                if one.name != "plan.csv" and one.name[0] != "."
            )

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for number in range(50):
            write_whole(path, contents[number % 2])
    finally:
        done.set()
        reader.join()
    assert odd == []
    assert looks > 1
    assert names(tmp_path) == [Path("plan.csv").name]
