"""The table of alerts: a topic that lacks a part would fail when it is raised, at night."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from monitor.config import DecisionsConfig, DifferentiationConfig
from monitor.culture import AlertFamily, AlertKind, AlertTopic
from monitor.decisions.alert_rules import (
    ALERT_RULES,
    judge_notices,
    notice_words,
    silence_words,
    words_of,
)
from tests.monitor.outlets.stories import series

ROWS = pytest.mark.parametrize(("topic", "rule"), ALERT_RULES.items(), ids=list(ALERT_RULES))
JUDGED = [topic for topic, rule in ALERT_RULES.items() if rule.judge is not None]


def test_every_topic_has_its_row_but_the_one_that_is_told_in_numbers():
    assert set(AlertTopic) - set(ALERT_RULES) == {AlertTopic.DIFFERENTIATION}


def test_every_topic_is_found_by_its_value_and_has_a_family():
    """A topic on record that is not known must not be taken for another one."""
    assert all(AlertTopic(str(one)) is one and one.family in AlertFamily for one in AlertTopic)
    with pytest.raises(ValueError, match="not a valid AlertTopic"):
        AlertTopic("nameless")


@ROWS
def test_what_is_said_when_it_begins_is_not_what_is_said_when_it_is_over(topic, rule):
    assert rule.begun and rule.over and rule.begun != rule.over
    # They stand after the dish's name, and before a number.
    assert not rule.begun.endswith(".") and not rule.over.endswith(".")
    assert rule.next_step[0].isupper()
    is_silence = topic.family is AlertFamily.SILENCE
    for is_over, words in ((False, rule.begun), (True, rule.over)):
        assert silence_words(topic, is_over=is_over) == (words if is_silence else None)
        assert notice_words(topic, is_over=is_over) == (None if is_silence else words)
    assert words_of(topic) == rule.begun


@ROWS
def test_a_limit_is_a_key_that_can_be_set(topic, rule):
    if rule.limit is None:
        return
    section: type[BaseModel] | None = DecisionsConfig
    for name in rule.limit.split("."):
        assert section is not None and name in section.model_fields
        inner = section.model_fields[name].annotation
        section = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


@ROWS
def test_whatever_ends_has_a_sentence_for_its_end(topic, rule):
    assert bool(rule.all_clear) == (topic.family is AlertFamily.SILENCE)
    if rule.judge is not None:
        assert topic.family is AlertFamily.COURSE
        assert (rule.limit or "").startswith("differentiation.")
        assert rule.unwatched.endswith(".")
        # Else the course of a dish is ended too early after a scan that came late.
        assert rule.looks_back in DifferentiationConfig.model_fields


@pytest.mark.parametrize("topic", JUDGED)
def test_a_limit_that_is_taken_out_ends_its_alert_and_raises_none(topic):
    rule = ALERT_RULES[topic]
    off = {ALERT_RULES[one].limit.rpartition(".")[2]: None for one in JUDGED}
    limits = DifferentiationConfig(**off)
    assert rule.limit_in(limits) is None
    readings = series(0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
    assert judge_notices([], readings, limits) == ()
    (found,) = judge_notices([topic], readings, limits)
    assert (found.topic, found.kind, found.text) == (topic, AlertKind.CLEARED, rule.unwatched)


def test_nothing_is_judged_of_no_reading():
    assert judge_notices(JUDGED, (), DifferentiationConfig()) == ()
