from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.culture import Doubt, DoubtReason
from monitor.culture.doubt_words import (
    REASON_WORDS,
    calibration_words,
    interval_words,
    named_interval,
    reason_words,
)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.8, 0.99), "80 to 99 %"),
        ((0.801, 0.981), "80 to 99 %"),
        ((0.0316, 0.0841), "3.1 to 8.5 %"),
        ((0.0, 1.0), "0 to 100 %"),
        ((0.0, 0.0), "0 to 0 %"),
        ((0.0999, 0.1001), "9.9 to 11 %"),
        ((0.29, 0.57), "29 to 57 %"),  # 100 * 0.29 is 28.999999999999996
        ((0.07, 0.07), "7 to 7 %"),
        ((0.00001, 0.99999), "0 to 100 %"),
    ],
)
def test_an_interval_is_told_in_percent_and_never_narrower_than_it_is(interval, words):
    doubt = Doubt(interval=interval)
    assert interval_words(doubt) == words
    assert named_interval(doubt) == f"90 % interval {words}"


@given(st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_every_interval_lies_in_what_is_told_of_it(ends):
    told = interval_words(Doubt(interval=(ends[0], ends[1])))
    assert told is not None
    low, high = told.removesuffix(" %").split(" to ")
    assert float(low) <= 100 * ends[0] + 1e-6
    assert float(high) >= 100 * ends[1] - 1e-6
    assert float(low) >= 0
    assert float(high) <= 100


def test_without_an_interval_nothing_is_told_of_it():
    doubt = Doubt((DoubtReason.UNFAMILIAR,), kind="ips 4x")
    assert interval_words(doubt) is named_interval(doubt) is calibration_words(doubt) is None


def test_that_an_interval_is_not_calibrated_is_told_and_is_no_doubt():
    doubt = Doubt(interval=(0.1, 0.2))
    assert calibration_words(doubt) == "not calibrated for this kind of image"
    assert not doubt.in_doubt
    assert calibration_words(Doubt(interval=(0.1, 0.2), calibrated=True)) is None


def test_every_reason_has_its_words():
    assert set(REASON_WORDS) == set(DoubtReason)
    assert reason_words(Doubt(tuple(DoubtReason))) == (
        "unlike the images the model has learnt from",
        "the model contradicts itself on this image",
        "cells cannot be told apart here",
    )
