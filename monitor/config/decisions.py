"""Limits: when a dish counts as differentiating, and whose silence is noticed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from monitor.config.confirmation import ClockConfig, VerificationConfig
from monitor.config.problems import THE_FILE, all_of, lines_of
from monitor.config.removal import RemovalConfig
from monitor.config.values import Fraction
from monitor.config.values import Positive as _Positive
from monitor.config.values import Section as _Section


class DifferentiationConfig(_Section):
    """When a dish counts as differentiating. Limits are settings of the lab, not a standard.

    critical_above : second, higher limit; None = there is none. A dish that is raised above it is
        critical at once
    worse_by : rise since the last alert that is told once more; None = it is not
    scans_needed, scans_considered : so many of the last so many scans must agree
    votes_within_h : only scans of the last so many hours agree or disagree with the newest
    agree_h : where more scans than that were taken within so many hours, the same share of them all
    new_series_after_days : scans before a pause of more days have no say in anything, and people
        are asked whether it is the same dish; None = however long ago, they are its scans
    trend_h : the slope of a series is that of its last hours; None = no slope, no forecast. A
        series that surely rises to a limit passes it with one scan
    rise_h : such a rise is looked for in so many hours, and in six scans at least
    rise_above_per_day, confluence_above, growth_below_per_day, doubtful_for_h : when to say that a
        dish rises fast, is ready to be passaged, does not grow, cannot be judged; None = not said
    cooldown_h : for so long after a mail that a dish has risen, it takes worsening or a critical
        limit to send another one on the same matter
    mail_within_h : an alert on a scan of longer ago is put on record and not mailed; None = mailed
    discard_above : a dish of a higher share is past saving: that is said, and no removal plan is
        made; None = there is no such limit
    fresh_for_h : for so long after a passage a dish counts as freshly passaged: single cells and
        small clumps look differentiated, so no share is judged and no plan made; None = it is
    passage_below : a confluence that falls to less than this share of what it was, with the cells
        in smaller pieces, is taken for a passage; None = only one that a person tells of is
    """

    raise_above: Fraction = Field(default=0.10)
    clear_below: Fraction = Field(default=0.05)
    critical_above: Fraction | None = Field(default=0.30)
    critical_clear_below: Fraction = Field(default=0.20)
    worse_by: Annotated[float, Field(gt=0, le=1)] | None = Field(default=0.10)
    scans_needed: Annotated[int, Field(ge=1)] = 3
    scans_considered: Annotated[int, Field(ge=1)] = 4
    min_confluence: Fraction = Field(default=0.02)
    votes_within_h: Annotated[float, Field(ge=1, le=2400)] = 96.0
    agree_h: Annotated[float, Field(ge=0, le=168)] = 8.0
    new_series_after_days: Annotated[float, Field(ge=1, le=3650)] | None = 14.0
    trend_h: _Positive | None = 30.0
    rise_h: _Positive = 20.0
    rise_above_per_day: Annotated[float, Field(gt=0, le=24)] | None = None
    confluence_above: Annotated[float, Field(gt=0, le=1)] | None = None
    growth_below_per_day: Annotated[float, Field(gt=0, le=24)] | None = None
    doubtful_for_h: _Positive | None = 24.0
    cooldown_h: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 12.0
    mail_within_h: _Positive | None = 168.0
    discard_above: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=0.60)
    fresh_for_h: Annotated[float, Field(gt=0, le=336)] | None = 48.0
    passage_below: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=0.5)

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        all_of(self._limits_out_of_order)
        return self

    def _limits_out_of_order(self) -> list[str]:
        found = []
        if self.clear_below >= self.raise_above:
            found.append(
                f"clear_below ({self.clear_below}) must be below raise_above ({self.raise_above})"
            )
        if self.critical_above is not None and self.critical_clear_below >= self.critical_above:
            found.append(
                f"critical_clear_below ({self.critical_clear_below}) must be below critical_above "
                f"({self.critical_above})"
            )
        if self.scans_needed > self.scans_considered:
            found.append(
                f"scans_needed ({self.scans_needed}) cannot exceed scans_considered "
                f"({self.scans_considered})"
            )
        if self.trend_h is None:
            found += [
                f"{key} needs trend_h, for example trend_h: 30"
                for key in ("rise_above_per_day", "growth_below_per_day")
                if getattr(self, key) is not None
            ]
        return found


class OverrideConfig(_Section):
    """Other limits for some dishes. The first override that fits a dish counts.

    dishes : shell pattern of the dish's whole name, such as ``3500003816/*``
    source : only dishes of this source; None = of any
    limits : keys of `differentiation` with their other values
    """

    dishes: str = Field(default="*", min_length=1)
    source: str | None = None
    limits: dict[str, Any] = Field(min_length=1)

    def fits(self, dish: str, source: str) -> bool:
        return fnmatchcase(dish, self.dishes) and self.source in (None, source)


class SilenceConfig(_Section):
    """When it is said that nothing new comes, or soon will not.

    intervals : so many of a source's `expected_interval_h` may pass without a new capture
    forget_after_days : a dish that is silent for longer is not missed any more
    same_pictures : so many scans in a row with the very same picture are a stuck camera; None = not
    disk_free_gib, clock_jump_s : None = not watched
    """

    intervals: Annotated[float, Field(ge=1.2, le=100)] = 2.5
    forget_after_days: _Positive = 14.0
    same_pictures: Annotated[int, Field(ge=2)] | None = 3
    source_gone_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300.0
    disk_free_gib: _Positive | None = 2.0
    clock_jump_s: Annotated[float, Field(ge=5, allow_inf_nan=False)] | None = 120.0
    cooldown_h: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 12.0


class DecisionsConfig(_Section):
    differentiation: DifferentiationConfig = DifferentiationConfig()
    overrides: tuple[OverrideConfig, ...] = Field(default=(), strict=False)
    silence: SilenceConfig = SilenceConfig()
    clock: ClockConfig = ClockConfig()
    removal: RemovalConfig = RemovalConfig()
    verification: VerificationConfig = VerificationConfig()

    def unsound_overrides(self) -> list[str]:
        """What is wrong in limits that are put in the place of others."""
        found = []
        for number, override in enumerate(self.overrides):
            try:
                self._overridden(override)
            except ValidationError as problem:
                for line in lines_of(problem, DifferentiationConfig):
                    key, text = line.split(": ", 1)
                    inner = "" if key == THE_FILE else f".{key}"
                    found.append(f"decisions.overrides[{number}].limits{inner}: {text}")
        return found

    def limits_for(self, dish: str, source: str, label: str = "") -> DifferentiationConfig:
        """The limits that hold for a dish, by its name or by what captures call it."""
        for override in self.overrides:
            if override.fits(dish, source) or (label and override.fits(label, source)):
                return self._overridden(override)
        return self.differentiation

    def _overridden(self, override: OverrideConfig) -> DifferentiationConfig:
        return DifferentiationConfig.model_validate(
            {**self.differentiation.model_dump(), **override.limits}
        )
