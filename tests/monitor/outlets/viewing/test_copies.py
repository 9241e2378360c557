"""Copies of captures: right at every size, kept within their room, made once."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from monitor.errors import CaptureError
from monitor.outlets.viewing.copies import Copies, averaged, every_second, level_shapes

SHAPE = (301, 517)


def picture(seed: int = 0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def strips(values, step: int = 64):
    return lambda: ((top, values[top : top + step]) for top in range(0, len(values), step))


def test_each_level_is_half_of_the_one_above_and_the_first_is_the_picture(tmp_path) -> None:
    values = picture()
    copy = Copies(tmp_path, 10**9, left_free=0).copy("aa1", SHAPE, strips(values))
    assert [level.shape for level in copy.levels] == level_shapes(SHAPE)
    assert (copy.levels[0] == values).all()
    four = values[:300, :516].astype(float).reshape(150, 2, 258, 2).mean(axis=(1, 3))
    assert np.abs(copy.levels[1][:150, :258] - four).max() <= 0.5


def test_classes_are_not_averaged(tmp_path) -> None:
    values = np.where(picture() > 127, np.uint8(255), np.uint8(1))
    copy = Copies(tmp_path, 10**9, left_free=0).copy(
        "aa2", SHAPE, strips(values), halve=every_second
    )
    assert all(set(np.unique(level).tolist()) <= {1, 255} for level in copy.levels)
    assert set(np.unique(averaged(values)).tolist()) > {1, 255}


def test_a_copy_is_made_once_and_found_again_by_another_program(tmp_path) -> None:
    values, calls = picture(), []

    def make():
        calls.append(1)
        return strips(values)()

    copies = Copies(tmp_path, 10**9, left_free=0)
    threads = [threading.Thread(target=copies.copy, args=("aa3", SHAPE, make)) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    again = Copies(tmp_path, 10**9, left_free=0).copy("aa3", SHAPE, make)
    assert len(calls) == 1 and (again.levels[0] == values).all()


def test_the_disk_budget_is_kept_and_what_was_looked_at_last_stays(tmp_path) -> None:
    size = sum(rows * columns for rows, columns in level_shapes(SHAPE))
    copies = Copies(tmp_path, round(3.5 * size), left_free=0)
    for number in range(6):
        copies.copy(f"a{number}", SHAPE, strips(picture(number)))
        for age, path in enumerate(sorted(tmp_path.glob("*/*.view"), reverse=True)):
            os.utime(path, (1000 - age, 1000 - age))
    left = sorted(path.stem for path in tmp_path.glob("*/*.view"))
    assert left == ["a3", "a4", "a5"]
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 3.5 * size


def test_without_room_on_the_disk_pictures_are_shown_from_memory(tmp_path) -> None:
    """The daemon's records come first."""
    values = picture()
    copies = Copies(tmp_path, 10**9, left_free=2**60)
    assert (copies.copy("aa4", SHAPE, strips(values)).levels[0] == values).all()
    assert not list(tmp_path.glob("*/*"))


def test_what_fails_leaves_nothing_behind(tmp_path) -> None:
    def broken():
        yield 0, picture()[:64]
        raise OSError("the share is gone")

    copies = Copies(tmp_path, 10**9, left_free=0)
    with pytest.raises(OSError, match="share"):
        copies.copy("aa5", SHAPE, broken)
    with pytest.raises(CaptureError, match="another size"):
        copies.copy("aa5", SHAPE, strips(picture(shape=(301, 500))))
    assert not list(tmp_path.glob("*/*"))
    assert (copies.copy("aa5", SHAPE, strips(picture())).levels[0] == picture()).all()
