"""Sections of the configuration on clocks, and on what is decided after a plan was carried out."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from monitor.config.values import Positive, Section

_Share = Annotated[float, Field(gt=0, lt=1)]


class ClockConfig(Section):
    """What dates of captures are held against: when they arrive.

    ahead_min : a capture that is dated so many minutes after it was first seen is in doubt
    behind_min : captures that keep arriving so many minutes late, always by the same, are said to
        come from a clock that is behind; None = that is not watched
    """

    ahead_min: Annotated[float, Field(gt=0, le=1440)] = 15.0
    behind_min: Annotated[float, Field(ge=5, le=10_000_000)] | None = 45.0


class VerificationConfig(Section):
    """When the scan after the picking calls a region gone.

    gone_above : at least this share of it is background; the rest is what the tool must leave
    still_there_below : at most this share is
    within_h : a later scan says nothing of the picking any more
    most_shift_um : a dish put back within this is looked at where it lies now; of one that lies
        farther off, or looks like another one, nothing can be told. 0 = dishes stay where they are
    """

    gone_above: _Share = 0.8
    still_there_below: _Share = 0.3
    within_h: Positive = 24.0
    most_shift_um: Annotated[float, Field(ge=0, le=2_000)] = 150.0

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        if self.still_there_below >= self.gone_above:
            raise ValueError(
                f"still_there_below ({self.still_there_below:g}) must be below gone_above "
                f"({self.gone_above:g})"
            )
        return self
