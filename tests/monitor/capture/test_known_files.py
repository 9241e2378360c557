from pathlib import Path

import pytest

from monitor.capture.known_files import KnownFiles
from monitor.errors import RecordError

A, B, C = Path("/in/a.tif"), Path("/in/b.tif"), Path("/in/c.tif")


def test_only_what_is_not_held_is_asked_of_the_record():
    asked = []

    def read(paths):
        asked.append(list(paths))
        return {A: (1, 1)} if A in paths else {}

    looks = KnownFiles(read)
    looks.note(B, (2, 2))
    assert looks.among([A, B, C]) == {A: (1, 1), B: (2, 2)}
    assert looks.among([A, B]) == {A: (1, 1), B: (2, 2)}
    assert asked == [[A, C]]


def test_memory_stays_bounded_however_many_files_a_folder_holds():
    asked = []

    def read(paths):
        asked.extend(paths)
        return dict.fromkeys(paths, (7, 7))

    looks = KnownFiles(read, most=2)
    for path in (A, B, C):
        looks.note(path, (7, 7))
    assert looks.among([A]) == {A: (7, 7)}  # it fell out, and the record knows it
    assert asked == [A]
    looks.among([C])
    assert asked == [A]


def test_what_is_no_capture_is_known_from_here_alone():
    looks = KnownFiles(lambda paths: {}, most=1)
    looks.leave_out(A, (1, 1))
    looks.note(B, (1, 1))
    looks.note(C, (1, 1))
    assert looks.among([A]) == {A: (1, 1)}


def test_a_forgotten_file_is_looked_at_again():
    looks = KnownFiles(lambda paths: {})
    looks.note(A, (1, 1))
    looks.forget(A)
    assert looks.among([A]) == {}


def test_a_record_out_of_reach_is_no_answer():
    def read(paths):
        raise RecordError("locked")

    with pytest.raises(RecordError, match="locked"):
        KnownFiles(read).among([A])


def test_what_was_left_out_in_a_folder_is_new_again_where_something_else_is_known_of_it():
    """A sidecar that came late may say that it was the wrong channel that was left out."""
    looks = KnownFiles(lambda paths: {})
    here, there = Path("/plate/w2.tif"), Path("/other/w2.tif")
    looks.leave_out(here, (1, 1), "channel w2")
    looks.leave_out(there, (1, 1), "channel w2")
    assert looks.look_again_in(Path("/plate")) == {"channel w2": 1}
    assert looks.among([here, there]) == {there: (1, 1)}
