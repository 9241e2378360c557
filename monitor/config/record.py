"""Where the record lies, how much of it stays for how long, and its backups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from monitor.config.values import DatabaseField, PathField, Positive, Section

_LEAST_DAYS = 7
Count = Annotated[int, Field(ge=0, le=1000)]


class KeepConfig(Section):
    """How long pictures stay in the record's folder. Readings and decisions stay for ever.

    overlays_days, label_maps_days, tiles_days : since they were written; None = for ever
    gib : all of them together; the oldest go first. None = as much as there is
    """

    overlays_days: Annotated[float, Field(ge=_LEAST_DAYS)] | None = None
    label_maps_days: Annotated[float, Field(ge=_LEAST_DAYS)] | None = None
    tiles_days: Annotated[float, Field(ge=1)] | None = 30.0
    gib: Positive | None = None


class BackupsConfig(Section):
    """folder : None = `backups` in the record's folder

    daily, weekly, monthly : so many days, weeks and months keep the last backup in them
    pictures : overlays and label maps, too
    """

    folder: PathField | None = None
    daily: Count = 7
    weekly: Count = 5
    monthly: Count = 12
    pictures: bool = False

    @model_validator(mode="after")
    def _keeps_some(self) -> Self:
        if self.daily + self.weekly + self.monthly == 0:
            raise ValueError("daily, weekly and monthly are all 0: no backup would be kept")
        return self


class RecordConfig(Section):
    """folder : overlays, label maps, exports and, unless told otherwise, the database.

    database : SQLAlchemy URL; None = ``colonywatch.sqlite`` in `folder`
    stop_below_gib : with less room no capture is measured, until there is room again; None = never
    """

    folder: PathField = Path("state")
    database: DatabaseField | None = None
    stop_below_gib: Positive | None = 0.5
    keep: KeepConfig = KeepConfig()
    backups: BackupsConfig = BackupsConfig()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """Where it lies unless `database` says otherwise."""
        return self.folder / "colonywatch.sqlite"

    @property
    def backup_folder(self) -> Path:
        return self.backups.folder or self.folder / "backups"
