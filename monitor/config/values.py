"""What the sections of the configuration are made of."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)


class Section(BaseModel):
    """A mapping of config.yaml. Unknown keys are errors; no value is taken for another kind.

    Defaults and whole default sections are validated like what a file says, since the paths in them
    have to find their folder too.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_default=True,
        revalidate_instances="always",
    )


def paths_from(anchor: Path) -> dict[str, Path]:
    """The validation context that makes every path of a configuration absolute.

    anchor : the absolute folder that relative paths start from. Without this context, in sections
        that code builds, paths stay as they are.
    """
    return {"anchor": anchor}


def _anchored(path: Path, info: ValidationInfo) -> Path:
    anchor = (info.context or {}).get("anchor")
    if anchor is None:
        return path
    try:
        return Path(anchor) / path.expanduser()
    except RuntimeError as problem:  # ~name of a user whom this machine does not know
        raise ValueError(
            f"the path begins with ~, but there is no home folder: {problem}"
        ) from problem


def _anchored_model(model: str, info: ValidationInfo) -> str:
    return model if model == STARTER or not model else str(_anchored(Path(model), info))


def _anchored_database(url: str, info: ValidationInfo) -> str:
    # A relative SQLite file would else be another one in every working folder.
    anchor = (info.context or {}).get("anchor")
    found = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(\?.*)?", url)
    if found is None or anchor is None:
        return url
    return f"{found[1]}{Path(anchor) / found[2]}{found[3] or ''}"


def _known_database(url: str) -> str:
    kind, is_url, _ = url.partition("://")
    if not is_url:
        raise ValueError(
            f"{url!r} is not a database URL; use for example "
            "sqlite:////var/lib/colonywatch/colonywatch.sqlite"
        )
    if kind in ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"):
        return url
    if kind.startswith(("postgres:", "postgres+", "postgresql")) or kind == "postgres":
        raise ValueError(f"{kind}:// is not how PostgreSQL is reached; use postgresql+psycopg://")
    raise ValueError(
        f"{kind}:// is not supported: records are kept in SQLite or PostgreSQL; use "
        "sqlite:////PATH/colonywatch.sqlite or postgresql+psycopg://USER@HOST/NAME"
    )


STARTER = "starter"
PathField = Annotated[Path, Field(strict=False), AfterValidator(_anchored)]
ModelField = Annotated[str, Field(min_length=1), AfterValidator(_anchored_model)]
DatabaseField = Annotated[str, AfterValidator(_known_database), AfterValidator(_anchored_database)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Row = Annotated[tuple[float, float], Field(strict=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def named_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
        raise ValueError(
            f"there is no time zone {value!r}; use a name such as UTC, Asia/Tokyo or "
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
