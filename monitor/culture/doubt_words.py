"""How doubt and interval are told to people: in one way by commands, pages, mails and overlays."""

from __future__ import annotations

from math import ceil, floor
from typing import Final

from monitor.culture.measurements import Doubt, DoubtReason

IN_DOUBT: Final = "in doubt"
REASON_WORDS: Final = {
    DoubtReason.UNFAMILIAR: "unlike the images the model has learnt from",
    DoubtReason.DISAGREEMENT: "the model contradicts itself on this image",
    DoubtReason.UNCLEAR: "cells cannot be told apart here",
}
NOT_CALIBRATED: Final = "not calibrated for this kind of image"
_ROUNDING = 1e-9


def reason_words(doubt: Doubt) -> tuple[str, ...]:
    """Why the network is in doubt, one text a reason."""
    return tuple(REASON_WORDS[reason] for reason in doubt.reasons)


def interval_words(doubt: Doubt) -> str | None:
    """``80 to 99 %``; None where the model gives no interval.

    Rounded outwards: an interval is never told narrower than it is.
    """
    if doubt.interval is None:
        return None
    low, high = (100 * end for end in doubt.interval)
    return f"{_number(low, up=False)} to {_number(high, up=True)} %"


def named_interval(doubt: Doubt) -> str | None:
    """``90 % interval 80 to 99 %``"""
    ends = interval_words(doubt)
    return None if ends is None else f"90 % interval {ends}"


def calibration_words(doubt: Doubt) -> str | None:
    """What is to be said beside an interval that was not calibrated; None where there is nothing.

    Nothing to worry about: it says that the interval is the model's own estimate.
    """
    return NOT_CALIBRATED if doubt.interval is not None and not doubt.calibrated else None


def _number(percent: float, *, up: bool) -> str:
    """Whole from 10 % on, with a decimal below that."""
    steps = 1 if percent >= 10 else 10
    scaled = percent * steps
    whole = ceil(scaled - _ROUNDING) if up else floor(scaled + _ROUNDING)
    return f"{whole / steps:g}"
