from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.scans.summary import sum_up
from tests.monitor.facts import COLONY, NOW, measurement


def test_areas_are_added_and_fractions_follow_from_the_sums():
    """A field full of undifferentiated cells and one with a speck of differentiated ones: the mean
    of their fractions would be one half.
    """
    summary = sum_up([measurement(100, 900, 0), measurement(990, 0, 10)])
    assert summary.differentiated_fraction == 10 / 910
    assert summary.confluence == 910 / 2000
    assert summary.background_um2 == 1090 * 4.0
    assert summary.undifferentiated_um2 == 900 * 4.0
    assert summary.differentiated_um2 == 10 * 4.0
    assert (summary.captures, summary.pixel_size_um) == (2, 2.0)


def test_without_cells_there_is_no_fraction():
    summary = sum_up([measurement(1000, 0, 0), measurement(1000, 0, 0)])
    assert summary.differentiated_fraction is None
    assert summary.confluence == 0.0
    assert summary.differentiated_um2 == 0.0


def test_an_empty_field_counts_as_imaged_area_only():
    summary = sum_up([measurement(1000, 0, 0), measurement(0, 500, 500)])
    assert summary.differentiated_fraction == 0.5
    assert summary.confluence == 0.5


def test_without_imaged_area_nothing_is_known():
    summary = sum_up([measurement(0, 0, 0)])
    assert summary.confluence is None
    assert summary.differentiated_fraction is None
    assert summary.uncertainty == 1.0


@pytest.mark.parametrize("sizes", [(None, None), (2.0, None), (None, 2.0)])
def test_where_a_pixel_size_is_missing_there_are_fractions_and_no_areas(sizes):
    first, second = sizes
    summary = sum_up(
        [
            measurement(0, 300, 100, pixel_size_um=first),
            measurement(400, 0, 0, pixel_size_um=second),
        ]
    )
    assert summary.background_um2 is None
    assert summary.undifferentiated_um2 is None
    assert summary.differentiated_um2 is None
    assert summary.pixel_size_um is None
    assert (summary.differentiated_fraction, summary.confluence) == (0.25, 0.5)


def test_fields_of_mixed_pixel_sizes_weigh_by_their_true_area():
    fine = measurement(0, 0, 400, pixel_size_um=1.0)  # 400 um2 differentiated
    coarse = measurement(0, 100, 0, pixel_size_um=4.0)  # 1 600 um2 not
    summary = sum_up([fine, coarse])
    assert summary.differentiated_fraction == 0.2
    assert summary.undifferentiated_um2 == 1600.0
    assert summary.pixel_size_um == pytest.approx((17 / 2) ** 0.5)


def test_uncertainty_is_weighted_by_imaged_area():
    summary = sum_up(
        [measurement(900, 0, 0, uncertainty=0.1), measurement(100, 0, 0, uncertainty=0.5)]
    )
    assert summary.uncertainty == pytest.approx(0.14)


def test_a_reading_has_the_time_of_its_first_capture():
    later = measurement(acquired_at=NOW + timedelta(minutes=3))
    assert sum_up([later, measurement()]).at == NOW


def test_doubts_of_every_field_are_kept_once():
    fields = [
        measurement(doubts=("out of focus", "dark")),
        measurement(doubts=("out of focus",), colonies=(COLONY, COLONY)),
    ]
    summary = sum_up(fields)
    assert summary.doubts == ("dark", "out of focus")
    assert summary.colonies == 3


def test_a_scan_without_fields_cannot_be_summed_up():
    with pytest.raises(ValueError, match="nothing to sum up"):
        sum_up([])


counts = st.integers(0, 10**9)
fields = st.builds(
    lambda background, undifferentiated, differentiated, size: measurement(
        background, undifferentiated, differentiated, pixel_size_um=size
    ),
    counts,
    counts,
    counts,
    st.none() | st.floats(0.1, 20),
)


@given(st.lists(fields, min_size=1, max_size=8))
def test_sums_lie_between_the_fields_and_do_not_depend_on_their_order(scan):
    summary, backwards = sum_up(scan), sum_up(scan[::-1])
    known = [one.areas.differentiated_fraction for one in scan if one.areas.cells_px]
    if not known:
        assert summary.differentiated_fraction is None
    else:
        assert summary.differentiated_fraction is not None
        low, high = min(known), max(known)
        assert low - 1e-9 <= summary.differentiated_fraction <= high + 1e-9
        assert backwards.differentiated_fraction == pytest.approx(summary.differentiated_fraction)
    assert (summary.differentiated_um2 is None) == any(one.pixel_size_um is None for one in scan)
