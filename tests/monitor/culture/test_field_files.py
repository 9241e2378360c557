from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from monitor.culture import FieldAreas
from monitor.culture.field_files import FieldFile, one_of_each, told_apart

AREAS = FieldAreas(100, 50, 50)


def file(number: int, path: str, **said) -> FieldFile:
    return FieldFile(number, Path(path), "1", AREAS, **said)


@pytest.mark.parametrize(
    ("counts", "others"),
    [
        # The rule of the files that come together holds for those that come one after the other.
        ({"channel": "w3", "in_transmitted_light": True}, [{"channel": "w1"}, {"channel": "w2"}]),
        ({"channel": "w2"}, [{"channel": "w10"}]),
        ({"plane": 1}, [{"projection": "projection"}]),
        (
            {"channel": "w2", "projection": "projection", "in_transmitted_light": True},
            [{"channel": "w1", "plane": 1}],
        ),
    ],
    ids=["transmitted light", "lowest number", "plane", "another channel as a plane"],
)
def test_the_file_that_counts_is_the_same_whichever_came_first(counts, others):
    said = [counts, *others]
    for order in permutations(range(len(said))):
        files = [file(number, f"/{at}.tif", **said[at]) for number, at in enumerate(order)]
        (choice,) = one_of_each(files)
        assert choice.file.path == Path("/0.tif")
        assert choice.doubts == ()


def test_files_of_one_name_are_told_apart_by_their_folders():
    one, other = Path("/data/run1/plateA/B2.tif"), Path("/data/run2/plateA/B2.tif")
    assert told_apart(one, other) == ("run1/plateA/B2.tif", "run2/plateA/B2.tif")
    assert told_apart(Path("/data/a.tif"), Path("/data/b.tif")) == ("a.tif", "b.tif")
    assert told_apart(one, one) == ("B2.tif", "B2.tif")
