"""What is in doubt raises no alert; people are asked to look once, and doubt that lasts is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, AlertTopic, DishStatus, Doubt, DoubtReason, Severity
from monitor.decisions.alert_rules import ALERT_RULES
from tests.monitor.decisions.courses import DEFAULT, at, between, follow, of_topic, scan, unsure

RAISED, WORSENED, CLEARED = AlertKind
LOOK, DOUBTFUL = AlertTopic.PLEASE_LOOK, AlertTopic.DOUBTFUL
DIFFERENTIATION, PAST_SAVING = AlertTopic.DIFFERENTIATION, AlertTopic.PAST_SAVING
HIGH = 0.5


def high_but(*, of=4, **changes):
    return [scan(number, HIGH, **changes) for number in range(of)]


NO_ALERT = {
    # name: readings of four scans, each with half of the cells differentiated
    "an unfamiliar image": high_but(doubt=Doubt((DoubtReason.UNFAMILIAR,))),
    "members disagree": high_but(doubt=Doubt((DoubtReason.DISAGREEMENT,))),
    "a flat distribution": high_but(doubt=Doubt((DoubtReason.UNCLEAR,))),
    "in doubt, though its interval is narrow": high_but(
        doubt=Doubt((DoubtReason.UNFAMILIAR,), (0.45, 0.55), "ips 4x", calibrated=True)
    ),
    "in doubt, and not calibrated either": high_but(
        doubt=Doubt((DoubtReason.UNFAMILIAR,), (0.45, 0.55))
    ),
    "the interval reaches below the limit": [between(n, HIGH, 0.04, 0.9) for n in range(4)],
    "the interval ends at the limit": [between(n, HIGH, 0.10, 0.9) for n in range(4)],
    "out of focus": high_but(doubts=("out-of-focus",)),
}


@pytest.mark.parametrize("case", NO_ALERT)
def test_what_is_not_sure_raises_nothing_and_asks_once_for_a_look(case):
    stand, told, changes = follow(NO_ALERT[case])
    assert told == [(2, LOOK, RAISED)]
    assert changes[0].severity is Severity.NOTICE
    assert stand.status is not DishStatus.DIFFERENTIATING


def test_the_request_says_what_the_scans_show_and_why_it_is_no_alert():
    (asked,) = follow(NO_ALERT["an unfamiliar image"])[2]
    assert asked.text == (
        "Scans show 50 % differentiated, above the limit of 30 %, but are not sure enough for an "
        "alert or a removal plan (unlike the images the model has learnt from)."
    )
    (asked,) = follow(NO_ALERT["the interval reaches below the limit"])[2]
    assert asked.text.endswith("(90 % interval 4 to 90 %).")


STILL_ALERTS = {
    "sure": [between(number, HIGH, 0.4, 0.6) for number in range(4)],
    "the low end just clears the limit": [between(n, 0.2, 0.101, 0.3) for n in range(4)],
    "only the newest interval clears the limit": [
        between(0, 0.2, 0.0, 0.4), between(1, 0.2, 0.0, 0.4), between(2, 0.2, 0.15, 0.3),
    ],
    "not calibrated, however wide": [
        between(number, 0.12, 0.0, 1.0, calibrated=False) for number in range(4)
    ],
    "of no known kind, without an interval": high_but(doubt=Doubt(kind="phase 10x")),
    "a model that says nothing of doubt": high_but(),
}  # fmt: skip


@pytest.mark.parametrize("case", STILL_ALERTS)
def test_what_is_sure_or_from_a_new_lab_raises_its_alert_at_once(case):
    told = follow(STILL_ALERTS[case])[1]
    assert of_topic(told, DIFFERENTIATION) == [(2, RAISED)]


def test_an_alert_that_rests_on_an_interval_that_was_not_calibrated_says_so():
    readings = STILL_ALERTS["not calibrated, however wide"]
    said = [one.text for one in follow(readings)[2] if one.topic is DIFFERENTIATION]
    assert said == ["The interval, 0 to 100 %, is not calibrated for this kind of image."]
    of_old_model = follow(STILL_ALERTS["a model that says nothing of doubt"])[2]
    assert [one.text for one in of_old_model] == [None]


def test_critical_is_said_only_where_the_interval_clears_the_critical_limit():
    readings = [between(number, 0.4, 0.2, 0.6) for number in range(3)]
    stand, told, _ = follow(readings)
    assert (stand.severity, of_topic(told, DIFFERENTIATION)) == (Severity.WARNING, [(2, RAISED)])
    stand, _, _ = follow([*readings, between(3, 0.45, 0.31, 0.6)])
    assert stand.severity is Severity.CRITICAL


def test_a_dish_is_given_up_only_by_what_is_sure():
    wide = [between(number, 0.8, 0.5, 0.95) for number in range(4)]
    assert of_topic(follow(wide)[1], PAST_SAVING) == []
    sure = [between(number, 0.8, 0.7, 0.95) for number in range(4)]
    assert of_topic(follow(sure)[1], PAST_SAVING) == [(2, RAISED)]


def test_scans_in_doubt_are_no_evidence_against_either():
    """A dish that differentiates is not taken for well again because of what nobody knows."""
    readings = [*[scan(number, 0.2) for number in range(3)], *[unsure(n, 0.0) for n in range(3, 9)]]
    stand, told, _ = follow(readings)
    assert stand.status is DishStatus.DIFFERENTIATING
    assert of_topic(told, DIFFERENTIATION) == [(2, RAISED)]


def test_an_interval_that_reaches_above_the_limit_keeps_no_alert_open():
    readings = [scan(number, 0.2) for number in range(3)]
    readings += [between(number, 0.01, 0.0, 0.15) for number in range(3, 7)]
    assert of_topic(follow(readings)[1], DIFFERENTIATION) == [(2, RAISED), (5, CLEARED)]


def test_one_scan_in_doubt_asks_for_nothing():
    readings = [scan(0), scan(1), unsure(2, 0.9), scan(3), scan(4)]
    assert follow(readings)[1] == []


def test_scans_in_doubt_ask_for_a_look_whatever_they_read():
    """Of an image that the model does not know, 1 % says no more than 90 %."""
    stand, told, changes = follow([unsure(number, 0.01) for number in range(3)])
    assert told == [(2, LOOK, RAISED)]
    assert changes[0].text == (
        "3 of the last 3 scans are in doubt (unlike the images the model has learnt from). No "
        "alert and no removal plan rests on them."
    )
    assert follow([unsure(number, None, confluence=0.0) for number in range(3)])[1] == told
    assert stand.looks_since == at(2)


def test_where_one_scan_is_enough_to_the_lab_one_in_doubt_asks():
    limits = DifferentiationConfig(scans_needed=1, scans_considered=1)
    asked = follow([unsure(0, 0.01)], limits)
    assert asked[1] == [(0, LOOK, RAISED)]
    assert asked[2][0].text.startswith("The last scan is in doubt (")
    assert follow([unsure(0, 0.01), scan(1)], limits)[1][-1] == (1, LOOK, CLEARED)


def test_a_request_ends_when_scans_are_sure_again():
    readings = [*[unsure(n, HIGH) for n in range(4)], *[scan(n) for n in range(4, 7)]]
    stand, told, _ = follow(readings)
    assert told == [(2, LOOK, RAISED), (6, LOOK, CLEARED)]
    assert (stand.at_word, stand.looks_since) == (None, None)


def test_sure_scans_that_show_it_raise_the_alert_and_end_the_request():
    readings = [*[unsure(n, HIGH) for n in range(4)], *[scan(n, HIGH) for n in range(4, 7)]]
    _, told, changes = follow(readings)
    assert [one for one in told if one[0] == 6] == [
        (6, DIFFERENTIATION, RAISED),
        (6, LOOK, CLEARED),
    ]
    assert changes[-1].text.endswith("see the alert on differentiation.")


def test_doubt_that_lasts_is_told_again_and_more_urgently():
    _, told, changes = follow([unsure(number, HIGH) for number in range(40)])
    assert told == [(2, LOOK, RAISED), (4, DOUBTFUL, RAISED)]
    assert changes[1].severity is Severity.WARNING


def test_a_sure_scan_now_and_then_does_not_hide_that_doubt_lasts():
    """Never a whole day in doubt, and yet hardly ever judged."""
    readings = [scan(n, 0.01) if n % 4 == 3 else unsure(n, 0.01) for n in range(30)]
    _, told, changes = follow(readings)
    assert told == [(2, LOOK, RAISED), (6, DOUBTFUL, RAISED)]
    assert "somebody has to look" in changes[1].text


def test_an_interval_that_does_not_clear_the_limit_for_long_is_told_again():
    told = follow([between(number, 0.14, 0.06, 0.25) for number in range(20)])[1]
    assert told == [(2, LOOK, RAISED), (6, DOUBTFUL, RAISED)]


def test_a_dish_that_begins_to_differentiate_under_lasting_doubt_is_told():
    """Somebody looked while it was well, and will not look again by himself."""
    shares = [0.01] * 12 + [0.05, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6]
    readings = [unsure(number, share) for number, share in enumerate(shares)]
    told = of_topic(follow(readings)[1], LOOK)
    assert told[0] == (2, RAISED)
    (first, kind), *_ = told[1:]
    assert kind is WORSENED
    assert first <= 13 + 2
    assert all(kind is WORSENED for _, kind in told[1:])


def test_who_has_been_told_is_not_asked_because_of_an_interval():
    readings = [scan(number, 0.2) for number in range(3)]
    readings += [between(number, 0.35, 0.05, 0.6) for number in range(3, 9)]
    assert of_topic(follow(readings)[1], LOOK) == []


def test_a_dish_that_seems_to_get_critical_in_scans_in_doubt_is_asked_about():
    readings = [scan(number, 0.15) for number in range(3)]
    readings += [unsure(number, 0.6) for number in range(3, 7)]
    stand, told, _ = follow(readings)
    assert stand.severity is Severity.WARNING
    assert of_topic(told, LOOK) == [(5, RAISED)]


def test_hovering_around_the_limit_asks_once():
    shares = [0.11, 0.11, 0.11, 0.09] * 10
    readings = [between(n, share, share - 0.05, share + 0.05) for n, share in enumerate(shares)]
    assert of_topic(follow(readings)[1], LOOK) == [(2, RAISED)]


def test_scans_every_hour_are_asked_about_no_more_often():
    readings = [unsure(number, HIGH, every_h=1) for number in range(60)]
    told = follow(readings)[1]
    assert [topic for _, topic, _ in told] == [LOOK, DOUBTFUL]


def test_the_request_is_calm_and_the_alert_on_doubt_is_not():
    assert [topic for topic, rule in ALERT_RULES.items() if rule.is_calm] == [
        LOOK,
        AlertTopic.PASSAGE_SEEN,
    ]


series = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.floats(0, 0.3),
        st.sampled_from([(), (), (DoubtReason.UNFAMILIAR,), (DoubtReason.UNCLEAR,)]),
        st.booleans(),
        st.floats(0, 0.9),
    ),
    min_size=1,
    max_size=30,
)


def as_readings(drawn):
    return [
        scan(
            number, fraction, confluence=cover,
            doubt=Doubt(reasons, (max(0, fraction - half), min(1, fraction + half)), "ips", known),
        )
        for number, (fraction, half, reasons, known, cover) in enumerate(drawn)
    ]  # fmt: skip


@given(series)
def test_no_alert_ever_rests_on_a_newest_reading_that_is_not_sure(drawn):
    """Also where everything else agrees: an alert shows its newest reading."""
    readings = as_readings(drawn)
    for change in follow(readings)[2]:
        if change.topic in (DIFFERENTIATION, PAST_SAVING) and change.kind is not CLEARED:
            assert not change.reading.in_doubt
            doubt = change.reading.doubt
            assert not doubt.calibrated or doubt.interval[0] > DEFAULT.raise_above


@given(series)
def test_people_are_asked_at_most_once_before_it_is_over(drawn):
    told = of_topic(follow(as_readings(drawn))[1], LOOK)
    kinds = [kind for _, kind in told if kind is not WORSENED]
    assert kinds == ([RAISED, CLEARED] * len(kinds))[: len(kinds)]


@given(series)
def test_what_would_have_been_an_alert_is_told_in_any_case(drawn):
    """Doubt may turn an alert into a request; it must not turn it into nothing."""
    readings = as_readings(drawn)
    blind = follow([replace(one, doubt=Doubt()) for one in readings])[1]
    told = follow(readings)[1]
    first = [place for place, _ in of_topic(blind, DIFFERENTIATION)][:1]
    heard = [place for topic in (DIFFERENTIATION, LOOK, DOUBTFUL)
             for place, _ in of_topic(told, topic)]  # fmt: skip
    passages = of_topic(told, AlertTopic.PASSAGE_SEEN)
    assert not first or passages or min(heard, default=99) <= first[0]
