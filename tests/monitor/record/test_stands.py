"""Where a dish stands after a scan, in a few letters and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.culture import COURSE_TOPICS, AlertTopic, DishStatus, Severity, Stand, Standing
from monitor.record.stands import in_short, stand_of
from tests.monitor.facts import NOW

moments = st.none() | st.integers(0, 10**9).map(lambda s: NOW.fromtimestamp(s / 7, NOW.tzinfo))
parts = (
    st.sampled_from(DishStatus),
    st.none() | st.sampled_from(Severity),
    st.none() | st.floats(0, 1),
    moments,
)
stands = st.builds(
    Stand,
    *parts,
    st.frozensets(st.sampled_from(sorted(COURSE_TOPICS))),
    st.none() | st.builds(Standing, *parts),
    moments,
    moments,
)


@given(stands)
def test_a_stand_comes_back_to_the_last_digit(stand):
    assert stand_of(in_short(stand)) == stand


@pytest.mark.parametrize(
    ("stand", "text"),
    [
        (Stand(), "-"),
        (Stand(DishStatus.UNDIFFERENTIATED), "u"),
        (Stand(DishStatus.FRESHLY_PASSAGED, passaged_at=NOW), f"f//////{NOW.timestamp()!r}"),
        (
            Stand(DishStatus.UNDIFFERENTIATED, is_open=frozenset({AlertTopic.DOUBTFUL})),
            "u////doubtful",
        ),
    ],
)
def test_what_says_nothing_takes_no_room(stand, text):
    """It is kept beside each of millions of scans."""
    assert in_short(stand) == text


def test_a_scan_that_was_not_decided_has_no_stand():
    assert stand_of(None) is None
