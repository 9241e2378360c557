"""When a scan is in doubt, and how wide its interval is, by what its fields say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.culture import Doubt, DoubtReason, FieldAreas
from monitor.scans.doubt import MOST_IN_DOUBT, Part, doubt_of_scan
from monitor.scans.summary import sum_up
from tests.monitor.facts import measurement

UNFAMILIAR, DISAGREEMENT, UNCLEAR = DoubtReason
SURE = Doubt(interval=(0.0, 0.1), kind="ips", calibrated=True)
STRANGE = Doubt((UNFAMILIAR,), interval=(0.5, 0.9), kind=None)


def full(doubt: Doubt = SURE, cells: float = 600) -> Part:
    return Part(1000, cells, doubt)


def empty(doubt: Doubt = SURE) -> Part:
    return Part(1000, 0, doubt)


CASES = {
    # name: (fields, is the scan in doubt?)
    "one field, sure": ([full()], False),
    "one field, in doubt": ([full(STRANGE)], True),
    "one field without cells, in doubt": ([empty(STRANGE)], True),
    "one doubtful empty corner of 20 full fields": ([empty(STRANGE)] + [full()] * 19, False),
    "one doubtful full field of 20": ([full(STRANGE)] + [full()] * 19, False),
    "one of five": ([full(STRANGE)] + [full()] * 4, False),
    "one of four": ([full(STRANGE)] + [full()] * 3, True),
    "ten doubtful fields of 20 that show no cells, where the others do": (
        [empty(STRANGE)] * 10 + [full()] * 10,
        True,
    ),
    "the only field with cells, among 19 empty ones": ([full(STRANGE)] + [empty()] * 19, True),
    "a speck in a doubtful field of a full dish": ([full(STRANGE, 1)] + [full()] * 19, False),
    "one doubtful field of 20, no cells anywhere": ([empty(STRANGE)] + [empty()] * 19, False),
    "half of the fields in doubt, no cells anywhere": ([empty(STRANGE), empty()], True),
    "a doubtful field all of which another one counts": ([Part(0, 0, STRANGE), full()], False),
    "nothing imaged at all, in doubt": ([Part(0, 0, STRANGE)], True),
    "models that say nothing": ([full(Doubt())] * 3, False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_scan_is_in_doubt_where_its_doubtful_fields_could_change_its_answer(name):
    """Not by one corner that is out of focus, else no dish of many fields could ever be judged;
    but also where all that could be judged was empty, and where what is in doubt reads as empty.
    """
    parts, expected = CASES[name]
    cells = sum(part.cells for part in parts)
    found = doubt_of_scan(parts, 0.1 if cells else None)
    assert found.in_doubt is expected
    assert found.reasons == ((UNFAMILIAR,) if expected else ())


def test_the_reasons_are_those_of_the_fields_in_doubt_each_once_in_one_order():
    parts = [
        full(Doubt((UNCLEAR,))),
        full(Doubt((DISAGREEMENT, UNCLEAR))),
        Part(0, 0, Doubt((UNFAMILIAR,))),  # another field counts all that it shows
        full(),
    ]
    assert doubt_of_scan(parts, 0.5).reasons == (DISAGREEMENT, UNCLEAR)


def test_the_interval_is_the_mean_of_lows_and_highs_by_the_cells_area():
    wide = Doubt(interval=(0.2, 0.8), kind="ips", calibrated=True)
    found = doubt_of_scan([full(SURE, 300), full(wide, 100), empty(wide)], 0.2)
    assert found.interval == pytest.approx((0.05, 0.275))
    assert found.calibrated


def test_one_field_gives_its_own_interval_in_doubt_or_not():
    assert doubt_of_scan([full(SURE)], 0.05) == SURE
    assert doubt_of_scan([full(STRANGE)], 0.7) == STRANGE


def test_a_doubtful_field_that_leaves_the_scan_sure_may_show_anything():
    """Its own interval is of a model that does not know the image: alerts rest on the scan's."""
    found = doubt_of_scan([full(STRANGE)] + [full()] * 9, 0.1)
    assert not found.in_doubt
    assert found.interval == pytest.approx((0.0, 0.9 * 0.1 + 0.1))
    assert found.calibrated


def test_a_doubtful_field_that_reads_as_empty_widens_the_interval_as_if_it_had_cells():
    found = doubt_of_scan([empty(STRANGE)] + [full()] * 9, 0.1)
    assert found.interval == pytest.approx((0.0, 0.9 * 0.1 + 0.1))


def test_a_field_without_an_interval_may_show_anything_where_others_have_one():
    found = doubt_of_scan([full(Doubt()), full(SURE, 1800)], 0.1)
    assert found.interval == pytest.approx((0.0, 0.75 * 0.1 + 0.25))
    assert not found.calibrated


@pytest.mark.parametrize(
    ("parts", "fraction"),
    [
        ([full(Doubt())] * 2, 0.1),
        ([full(Doubt((UNCLEAR,))), full(Doubt())], 0.1),
        ([empty(SURE)], None),
    ],
    ids=["no field has one", "no field has one, one in doubt", "no cells"],
)
def test_there_is_no_interval_where_no_field_with_cells_has_one(parts, fraction):
    found = doubt_of_scan(parts, fraction)
    assert found.interval is None
    assert not found.calibrated


def test_where_the_model_says_nothing_of_any_field_nothing_is_said_of_the_scan():
    assert doubt_of_scan([full(Doubt()), empty(Doubt())], 0.1) == Doubt()


def test_it_is_calibrated_only_if_all_fields_with_cells_are():
    other = Doubt(interval=(0.0, 0.1), kind="4x", calibrated=False)
    assert not doubt_of_scan([full(), full(other)], 0.1).calibrated
    assert doubt_of_scan([full(), empty(other)], 0.1).calibrated


def test_its_kind_is_that_of_most_of_the_cells():
    other = Doubt(kind="4x")
    assert doubt_of_scan([full(SURE, 100), full(other, 300)], 0.1).kind == "4x"
    assert doubt_of_scan([full(SURE, 100), empty(other), empty(other)], 0.1).kind == "ips"
    assert doubt_of_scan([empty(SURE), empty(other), empty(other)], None).kind == "4x"


def test_fields_of_several_pixel_sizes_weigh_by_their_true_area():
    fine = measurement(0, 0, 400, pixel_size_um=1.0, doubt=Doubt(interval=(1.0, 1.0)))
    coarse = measurement(0, 100, 0, pixel_size_um=4.0, doubt=Doubt(interval=(0.0, 0.0)))
    found = sum_up([fine, coarse])
    assert found.doubt.interval == pytest.approx((0.2, 0.2))
    assert found.differentiated_fraction == pytest.approx(0.2)


def test_what_an_overlap_counts_elsewhere_does_not_count():
    twice = measurement(0, 100, 100, doubt=STRANGE)
    alone = measurement(0, 100, 100, doubt=SURE)
    left = [FieldAreas(0, 10, 0), alone.areas]
    assert sum_up([twice, alone]).doubt.in_doubt
    assert not sum_up([twice, alone], areas=left).doubt.in_doubt


fractions = st.floats(0, 1)


@st.composite
def parts_and_fraction(draw):
    """Fields whose intervals hold their own fractions, and the fraction of all of them."""
    parts, differentiated = [], 0.0
    for _ in range(draw(st.integers(1, 12))):
        imaged = draw(st.floats(0, 1e6))
        cells = imaged * draw(fractions)
        ends = sorted([draw(fractions), draw(fractions)])
        own = ends[0] + (ends[1] - ends[0]) * draw(fractions)
        differentiated += cells * own
        reasons = draw(st.sampled_from([(), (), (UNFAMILIAR,), (UNCLEAR,)]))
        interval = (ends[0], ends[1]) if draw(st.booleans()) else None
        parts.append(Part(imaged, cells, Doubt(reasons, interval, None, draw(st.booleans()))))
    cells = sum(part.cells for part in parts)
    return parts, min(1.0, differentiated / cells) if cells else None


@given(parts_and_fraction())
def test_a_fraction_lies_in_its_interval_and_the_order_of_fields_does_not_matter(scan):
    parts, fraction = scan
    found, backwards = doubt_of_scan(parts, fraction), doubt_of_scan(parts[::-1], fraction)
    assert found.reasons == backwards.reasons
    assert (found.interval is None) is (backwards.interval is None)
    if found.interval is not None:
        assert fraction is not None
        assert 0 <= found.interval[0] <= fraction <= found.interval[1] <= 1
        assert backwards.interval == pytest.approx(found.interval)


@given(parts_and_fraction())
def test_what_a_scan_that_is_not_in_doubt_leaves_open_is_bounded(scan):
    """By the fields in doubt alone, its fraction can be off by `MOST_IN_DOUBT` at most."""
    parts, fraction = scan
    found = doubt_of_scan(parts, fraction)
    cells = sum(part.cells for part in parts)
    doubtful = sum(part.cells for part in parts if part.doubt.in_doubt)
    if not found.in_doubt and cells:
        assert doubtful <= (MOST_IN_DOUBT + 1e-6) * cells
