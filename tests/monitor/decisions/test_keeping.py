from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import BackupsConfig, KeepConfig
from monitor.decisions.keeping import (
    GIB,
    SPARED,
    PictureFile,
    PictureKind,
    backups_to_keep,
    pictures_to_remove,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OVERLAY, LABEL_MAP, TILE = PictureKind.OVERLAY, PictureKind.LABEL_MAP, PictureKind.TILE


def picture(days: float, kind=OVERLAY, *, dish: str = "dish-1", size: int = GIB) -> PictureFile:
    """size : bytes; days : its age"""
    return PictureFile(
        f"{kind}/{dish}/{days:g}", kind, dish, NOW - timedelta(days=days), size
    )  # fmt: skip


LATEST = picture(1)
CASES = {
    # name: (what lies there, what is to be kept, ages of what goes)
    "for ever": ([picture(4000), LATEST], KeepConfig(), []),
    "older than its kind stays": (
        [picture(31), picture(29), picture(31, LABEL_MAP), LATEST],
        KeepConfig(overlays_days=30),
        [31],
    ),
    "the last of a dish stay, however old": (
        [picture(400), picture(401), picture(408)],
        KeepConfig(overlays_days=30),
        [408],
    ),
    "the oldest go where there are too many": (
        [picture(90), picture(50), picture(20), LATEST],
        KeepConfig(gib=2.5),
        [90, 50],
    ),
    "of one age the overlay goes first": (
        [picture(50, LABEL_MAP), picture(50), LATEST],
        KeepConfig(gib=2.5),
        [50],
    ),
    "tiles go before all else": (
        [picture(90), picture(2, TILE, dish="x"), LATEST],
        KeepConfig(gib=2.5),
        [2],
    ),
    "old tiles go": (
        [picture(31, TILE, dish="x"), picture(29, TILE, dish="x")],
        KeepConfig(),
        [31],
    ),
    "what is spared stays even where it is too much": (
        [picture(1), picture(2), picture(3)],
        KeepConfig(gib=0.5),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_old_goes(case):
    files, keep, expected = CASES[case]
    gone = pictures_to_remove(files, keep, NOW)
    assert [round((NOW - one.written_at) / timedelta(days=1)) for one in gone] == expected
    assert case != "of one age the overlay goes first" or gone[0].kind is OVERLAY


@given(
    ages=st.lists(
        st.tuples(st.floats(0, 1000), st.sampled_from([OVERLAY, LABEL_MAP]), st.sampled_from("ab")),
        max_size=30,
    ),
    keep=st.builds(
        KeepConfig,
        overlays_days=st.none() | st.floats(7, 500),
        label_maps_days=st.none() | st.floats(7, 500),
        gib=st.none() | st.floats(0.1, 10),
    ),
)
def test_the_last_week_of_each_dish_always_stays(ages, keep):
    files = [picture(age, kind, dish=dish) for age, kind, dish in ages]
    gone = set(pictures_to_remove(files, keep, NOW))
    for one in files:
        newest = max(other.written_at for other in files if other.dish == one.dish)
        assert one not in gone or newest - one.written_at >= SPARED


def nightly(days: int) -> list[datetime]:
    return [NOW - timedelta(days=age) for age in range(days)]


def test_backups_of_days_weeks_and_months_stay():
    kept = backups_to_keep(nightly(400), BackupsConfig())
    ages = sorted((NOW - at).days for at in kept)
    assert ages[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert ages[7:10] == [8, 15, 22], "the Sunday of each week"
    assert len(kept) == 7 + 3 + 11 and 330 < ages[-1] < 340, "and the last day of each month"


@pytest.mark.parametrize("wanted", [BackupsConfig(daily=1, weekly=0, monthly=0), BackupsConfig()])
def test_the_newest_backup_is_always_kept(wanted):
    assert backups_to_keep([], wanted) == frozenset()
    several = [NOW - timedelta(hours=hours) for hours in range(9)]
    assert NOW in backups_to_keep(several, wanted)
    assert len(backups_to_keep(several, wanted)) == 1


def test_rotation_that_would_keep_nothing_is_refused():
    with pytest.raises(ValueError, match="no backup would be kept"):
        BackupsConfig(daily=0, weekly=0, monthly=0)
