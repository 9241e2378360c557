"""The first two days after a passage: single cells look differentiated, and no share is judged.

It must not be a way for a dish that differentiates or dies to go unseen.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, AlertTopic, DishStatus, Doubt, DoubtReason, Severity
from monitor.decisions.passages import fresh_until
from tests.monitor.decisions.courses import DEFAULT, START, at, follow, of_topic, scan

RAISED, WORSENED, CLEARED = AlertKind
SEEN, DIFFERENTIATION = AlertTopic.PASSAGE_SEEN, AlertTopic.DIFFERENTIATION
LOOK, DOUBTFUL = AlertTopic.PLEASE_LOOK, AlertTopic.DOUBTFUL
FRESH, UNDIFFERENTIATED = DishStatus.FRESHLY_PASSAGED, DishStatus.UNDIFFERENTIATED
DIFFERENTIATING = DishStatus.DIFFERENTIATING


def grown(number, fraction=0.01, **changes):
    return scan(number, fraction, **({"confluence": 0.7, "colonies": 12} | changes))


def thin(number, fraction=0.6, **changes):
    return scan(number, fraction, **({"confluence": 0.1, "colonies": 90} | changes))


def passaged(*, before=6, after=8, fraction=0.6, **changes):
    return [
        *[grown(number) for number in range(before)],
        *[thin(number, fraction, **changes) for number in range(before, before + after)],
    ]


# --- told by a person -----------------------------------------------------------------------------


def test_of_a_dish_that_was_passaged_no_share_is_judged_for_two_days():
    readings = [thin(number, 0.9) for number in range(8)]
    stand, told, _ = follow(readings, passaged_at=START)
    assert (told, stand.status, stand.severity) == ([], FRESH, None)
    assert follow(readings)[1][0] == (2, DIFFERENTIATION, RAISED)


def test_after_two_days_it_is_judged_by_the_scans_since_then():
    """What the cells looked like before has no vote."""
    readings = [thin(n, 0.9) for n in range(8)] + [grown(n, 0.01) for n in range(8, 12)]
    stand, told, _ = follow(readings, passaged_at=START)
    assert (told, stand.status) == ([], UNDIFFERENTIATED)


@pytest.mark.parametrize("before", [0.01, 0.9])
def test_a_dish_that_differentiates_is_raised_three_scans_after_that(before):
    readings = [thin(n, before) for n in range(8)] + [grown(n, 0.3) for n in range(8, 12)]
    told = follow(readings, passaged_at=START)[1]
    assert told == [(10, DIFFERENTIATION, RAISED)]


@pytest.mark.parametrize(("hours", "first"), [(24.0, 4), (48.0, 8), (72.0, 12), (None, 0)])
def test_how_long_that_is_is_a_setting(hours, first):
    limits = DifferentiationConfig(fresh_for_h=hours)
    readings = [thin(number, 0.9) for number in range(20)]
    told = of_topic(follow(readings, limits, passaged_at=START)[1], DIFFERENTIATION)
    assert told[0] == (first + 2, RAISED)


def test_a_passage_between_two_scans_counts_from_its_own_time():
    passage = START - timedelta(hours=47)
    readings = [thin(number, 0.9) for number in range(6)]
    assert follow(readings, passaged_at=passage)[1][0] == (3, DIFFERENTIATION, RAISED)
    assert fresh_until(passage, DEFAULT) == START + timedelta(hours=1)


def test_what_is_not_a_matter_of_shares_is_told_all_the_same():
    limits = DifferentiationConfig(confluence_above=0.6)
    full = [grown(number) for number in range(3)]
    told = follow(full, limits, passaged_at=START)[1]
    assert told == [(2, AlertTopic.CONFLUENT, RAISED)]
    blurred = [thin(number, doubts=("out-of-focus",)) for number in range(6)]
    assert follow(blurred, passaged_at=START)[1] == [(4, DOUBTFUL, RAISED)]


def test_that_the_model_doubts_what_is_not_judged_is_no_news():
    strange = Doubt((DoubtReason.UNFAMILIAR,))
    readings = [thin(number, 0.9, doubt=strange) for number in range(8)]
    assert follow(readings, passaged_at=START)[1] == []
    # Once it would be judged, it is.
    later = [thin(number, 0.9, doubt=strange) for number in range(8, 14)]
    assert [one[:2] for one in follow([*readings, *later], passaged_at=START)[1]] == [
        (10, LOOK),
        (12, DOUBTFUL),
    ]


def test_a_rise_is_not_seen_in_single_cells():
    limits = DifferentiationConfig(rise_above_per_day=0.1, growth_below_per_day=0.05)
    rising = [thin(number, 0.1 + 0.1 * number) for number in range(8)]
    assert follow(rising, limits, passaged_at=START)[1] == []


# --- seen -----------------------------------------------------------------------------------------


def test_a_passage_that_nobody_told_of_is_seen_and_said_calmly():
    stand, told, changes = follow(passaged())
    assert told == [(7, SEEN, RAISED)]
    assert (stand.status, stand.passaged_at) == (FRESH, at(6))
    assert changes[0].severity is Severity.NOTICE
    assert changes[0].text == (
        "The cells cover 10 % after 70 %, in smaller pieces: taken for a passage. 60 % of them "
        "look differentiated, as single cells and small clumps do. Until 2026-11-06 21:30 UTC no "
        "alert is raised on their share and no removal plan is made."
    )


def test_it_is_judged_as_usual_two_days_after():
    readings = passaged(after=8) + [scan(number, 0.3) for number in range(14, 18)]
    stand, told, _ = follow(readings)
    assert told == [(7, SEEN, RAISED), (14, SEEN, CLEARED), (16, DIFFERENTIATION, RAISED)]
    assert stand.status is DIFFERENTIATING


NO_PASSAGE = {
    # name: readings; that they are no passage is told by an alert that is not held back
    "the cells were above the limit before": [
        *[grown(number, 0.2 if number > 2 else 0.01) for number in range(5)],
        *[thin(number) for number in range(5, 9)],
    ],
    "the dish differentiates": [
        *[grown(number, 0.2) for number in range(4)],
        *[thin(number) for number in range(4, 8)],
    ],
    "its last scan before the fall was above": [
        *[grown(number, 0.2 if number == 5 else 0.01) for number in range(6)],
        *[thin(number) for number in range(6, 10)],
    ],
    "whole colonies are gone": passaged(colonies=2),
    "a quarter of the cells is gone": passaged(confluence=0.5),
    "they were few before": [
        *[scan(number, confluence=0.08, colonies=4) for number in range(6)],
        *[thin(number, confluence=0.03) for number in range(6, 10)],
    ],
    "it was thin from the beginning": [thin(number) for number in range(6)],
    "it loosens slowly": [
        scan(number, 0.02 + 0.03 * number, confluence=0.7 - 0.05 * number, colonies=12 + number)
        for number in range(12)
    ],
}


@pytest.mark.parametrize("case", NO_PASSAGE)
def test_what_is_no_passage_holds_no_alert_back(case):
    told = follow(NO_PASSAGE[case])[1]
    assert of_topic(told, SEEN) == []
    assert of_topic(told, DIFFERENTIATION)


def test_one_odd_scan_is_no_passage():
    """The imager looked elsewhere, or a bubble lay over the cells."""
    readings = [*passaged(after=1), *[grown(number) for number in range(7, 12)]]
    assert follow(readings)[1] == []
    dark = [*[grown(n) for n in range(6)], *[thin(n, doubts=("partly-black",)) for n in (6, 7, 8)]]
    assert of_topic(follow(dark)[1], SEEN) == []


def test_cells_that_are_back_at_once_were_never_gone():
    readings = [grown(number, every_h=2) for number in range(6)]
    readings += [thin(number, 0.01, every_h=2) for number in range(6, 8)]
    readings += [grown(number, 0.3, every_h=2) for number in range(8, 16)]
    told = follow(readings)[1]
    assert told[:2] == [(7, SEEN, RAISED), (9, SEEN, CLEARED)]
    assert of_topic(told, DIFFERENTIATION) == [(11, RAISED)]


def test_an_empty_dish_was_not_passaged():
    readings = [grown(n) for n in range(6)] + [thin(n, None, confluence=0.0) for n in range(6, 10)]
    assert follow(readings)[1] == []


def test_a_dish_that_dies_does_not_get_two_more_days_with_each_fall():
    """What has not grown was not passaged again."""
    readings = [
        *passaged(after=8, confluence=0.3, colonies=150),
        *[scan(number, 0.5, confluence=0.12, colonies=300) for number in range(14, 20)],
    ]
    told = follow(readings)[1]
    assert of_topic(told, SEEN) == [(7, RAISED), (14, CLEARED)]
    assert of_topic(told, DIFFERENTIATION) == [(16, RAISED)]


def test_cells_that_grew_can_be_passaged_again():
    again = 6 + 8 + 6
    readings = [
        *passaged(after=8, fraction=0.02),
        *[grown(number) for number in range(14, again)],
        *[thin(number) for number in range(again, again + 4)],
    ]
    told = of_topic(follow(readings)[1], SEEN)
    assert told == [(7, RAISED), (14, CLEARED), (again + 1, RAISED)]


def test_whoever_wants_none_taken_for_one_says_so():
    limits = DifferentiationConfig(passage_below=None)
    assert follow(passaged(), limits)[1][0][1] is DIFFERENTIATION
    off = DifferentiationConfig(fresh_for_h=None)
    assert follow(passaged(), off)[1][0][1] is DIFFERENTIATION


def test_where_one_scan_raises_an_alert_one_scan_shows_the_passage():
    limits = DifferentiationConfig(scans_needed=1, scans_considered=1)
    assert follow(passaged(), limits)[1] == [(6, SEEN, RAISED)]


def test_what_was_open_before_the_passage_is_over():
    limits = DifferentiationConfig(confluence_above=0.6)
    told = follow(passaged(), limits)[1]
    assert told == [
        (2, AlertTopic.CONFLUENT, RAISED),
        (7, AlertTopic.CONFLUENT, CLEARED),
        (7, SEEN, RAISED),
    ]


def test_the_passage_of_a_dish_that_is_scanned_every_hour_is_seen_too():
    readings = [grown(number, every_h=1) for number in range(12)]
    readings += [thin(number, every_h=1) for number in range(12, 60)]
    stand, told, _ = follow(readings)
    assert told == [(13, SEEN, RAISED)]
    assert stand.status is FRESH
