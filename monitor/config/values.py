"""What the sections of the configuration are made of."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A mapping of config.yaml. Unknown keys are errors; no value is taken for another kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


PathField = Annotated[Path, Field(strict=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Row = Annotated[tuple[float, float], Field(strict=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def named_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
        raise ValueError(
            f"no time zone is called {value!r}; use a name such as UTC, Asia/Tokyo or "
            "America/Los_Angeles"
        ) from problem
    return value


def _time_of_day(value: object) -> object:
    # YAML takes 22:00 without quotes for a number to the base of 60.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(value // 60, value % 60)
    if isinstance(value, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value):
        hour, minute = value.split(":")
        return time(int(hour), int(minute))
    if isinstance(value, time):
        return value
    raise ValueError("must be a time of day, such as 08:00")


TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
