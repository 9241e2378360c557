"""config.yaml -> frozen `Config`, a section a stage.

Unknown keys are errors. All problems of a file come at once, each with the file, the key and what
is allowed. Relative paths are relative to the folder that the file lies in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from monitor.config.decisions import DecisionsConfig
from monitor.config.mail import EmailConfig
from monitor.config.metrics import MetricsConfig
from monitor.config.outlets import Addressed, ChannelConfig, CheckInConfig, DashboardConfig
from monitor.config.picking import PickLogsConfig, RemovalOutletConfig
from monitor.config.problems import STAND_IN, all_of
from monitor.config.record import RecordConfig
from monitor.config.sila import SilaConfig
from monitor.config.sources import SourceConfig, SourceSettings, UnlistedSettings
from monitor.config.values import STARTER, ModelField, named_zone
from monitor.config.values import Section as _Section
from monitor.culture import UNLISTED


class SegmentationConfig(_Section):
    """model : "starter", or a folder that holds a model's weights, manifest and card."""

    model: ModelField = STARTER


class OutletsConfig(_Section):
    """timezone : of the lab, in which mails tell times and hours count; None = that of the sources
    where they share one, else UTC
    """

    timezone: str | None = None
    email: EmailConfig = EmailConfig()
    channels: tuple[ChannelConfig, ...] = Field(default=(), strict=False)
    removal: RemovalOutletConfig = RemovalOutletConfig()
    dashboard: DashboardConfig = DashboardConfig()
    check_in: CheckInConfig = CheckInConfig()
    sila: SilaConfig = SilaConfig()
    metrics: MetricsConfig = MetricsConfig()

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str | None) -> str | None:
        return None if value is None else named_zone(value)


class ComputeConfig(_Section):
    """threads : processor threads of the segmentation worker; None = all

    capture_timeout_s : a capture that takes longer is stuck; its worker is ended and started anew
    runner : what does the network's arithmetic; "auto" = the fastest here that agrees with
        "torch-float32"

    engine : "local", a process beside the daemon, or "dask", the cluster of `scheduler`

    captures : "bytes" travel to the cluster with the question; "shared": its workers read them from
        the same paths
    """

    runner: Literal[
        "auto",
        "torch-float32",
        "torch-bfloat16",
        "openvino-float32",
        "openvino-bfloat16",
        "openvino-int8",
    ] = "auto"
    engine: Literal["local", "dask"] = "local"
    scheduler: str | None = None
    captures: Literal["bytes", "shared"] = "bytes"
    threads: Annotated[int, Field(ge=1)] | None = None
    capture_timeout_s: Annotated[float, Field(ge=10)] = 900.0

    @model_validator(mode="after")
    def _a_cluster_has_a_scheduler(self) -> Self:
        if (self.engine == "dask") != (self.scheduler is not None):
            raise ValueError(
                "engine: dask and scheduler go together, such as scheduler: tcp://10.0.0.5:8786"
            )
        if self.scheduler and not re.fullmatch(r"(tcp|tls)://[^\s/:]+:\d+", self.scheduler):
            raise ValueError(
                f"scheduler is {self.scheduler!r}; give tcp://HOST:PORT, as `dask scheduler` says"
            )
        return self


class Config(_Section):
    """The whole configuration.

    unlisted : what holds for paths given to a command that belong to no source
    """

    sources: tuple[SourceConfig, ...] = Field(default=(), strict=False)
    unlisted: UnlistedSettings = UnlistedSettings()
    segmentation: SegmentationConfig = SegmentationConfig()
    record: RecordConfig = RecordConfig()
    decisions: DecisionsConfig = DecisionsConfig()
    outlets: OutletsConfig = OutletsConfig()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        all_of(
            self.decisions.unsound_overrides,
            self._equal_source_names,
            self._equal_source_folders,
            self._former_names_in_use,
            self._overrides_of_unknown_sources,
            self._readers_of_unknown_sources,
            self._equal_channel_names,
            self._pick_logs_among_others,
        )
        return self

    def _equal_source_names(self) -> list[str]:
        names = [source.name for source in self.sources]
        return [
            f"two sources are called {name!r}; each needs its own name"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]

    def _equal_source_folders(self) -> list[str]:
        paths = [source.path for source in self.sources]
        return [
            f"two sources have the folder {path}; each needs its own, or its captures would "
            "belong to two dishes"
            for path in sorted({path for path in paths if paths.count(path) > 1})
        ]

    def _former_names_in_use(self) -> list[str]:
        names = {source.name for source in self.sources}
        found = [
            f"a source cannot be called {UNLISTED!r}: that name is for what belongs to no source"
            for name in names
            if name == UNLISTED
        ]
        said: set[str] = set()
        for number, source in enumerate(self.sources):
            for old in source.formerly:
                if old in names:
                    found.append(
                        f"sources[{number}].formerly: {old!r} is a source's present name; only a "
                        f"name "
                        "that no source has any more can be a former one"
                    )
                elif old in said:
                    found.append(
                        f"sources[{number}].formerly: {old!r} is the former name of another "
                        "source, too; its dishes can go on in only one of them"
                    )
                said.add(old)
        return found

    @property
    def _known_sources(self) -> list[str]:
        named = {source.name for source in self.sources if STAND_IN not in source.name}
        return sorted(named | {UNLISTED})

    def _overrides_of_unknown_sources(self) -> list[str]:
        known = self._known_sources
        return [
            f"decisions.overrides[{number}].source: there is no source {override.source!r}; "
            f"known: {', '.join(known)}"
            for number, override in enumerate(self.decisions.overrides)
            if self.sources and override.source is not None and override.source not in known
        ]

    def _readers_of_unknown_sources(self) -> list[str]:
        known = self._known_sources
        addressed: dict[str, Sequence[Addressed]] = {
            "email.recipients": self.outlets.email.recipients,
            "channels": self.outlets.channels,
        }
        return [
            f"outlets.{key}[{number}].sources: there is no source {source!r}; "
            f"known: {', '.join(known)}"
            for key, readers in addressed.items()
            for number, reader in enumerate(readers)
            for source in reader.sources
            if self.sources and source not in known
        ]

    def _equal_channel_names(self) -> list[str]:
        names = [channel.name for channel in self.outlets.channels]
        return [
            f"outlets.channels: two are called {name!r}; each needs its own name"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]

    def _pick_logs_among_others(self) -> list[str]:
        taken = {self.removal_folder, *(source.path for source in self.sources)}
        if self.outlets.removal.pick_logs.folder not in taken:
            return []
        return [
            "outlets.removal.pick_logs.folder: is the folder of the plans or of a source; "
            "give the picker's logs a folder of their own"
        ]

    @property
    def overlay_folder(self) -> Path:
        return self.record.folder / "overlays"

    @property
    def label_folder(self) -> Path:
        return self.record.folder / "labels"

    @property
    def mailbox(self) -> Path:
        return self.outlets.email.mailbox or self.record.folder / "mailbox"

    @property
    def secret_file(self) -> Path:
        return self.outlets.dashboard.secret_file or self.record.folder / "links.secret"

    @property
    def removal_folder(self) -> Path:
        return self.outlets.removal.folder or self.record.folder / "removal"

    @property
    def sila_folder(self) -> Path:
        """What the SiLA 2 server keeps: its id, its key and its certificate."""
        return self.record.folder / "sila"

    def zone_of(self, source: str | None = None) -> ZoneInfo:
        """The lab's zone; else the source's; for what is of no source, the one that all share."""
        if self.outlets.timezone is not None:
            return ZoneInfo(self.outlets.timezone)
        zones = {one.timezone for one in self.sources if source in (None, one.name)}
        return ZoneInfo(zones.pop() if len(zones) == 1 else "UTC")

    def source_called(self, name: str) -> SourceConfig | None:
        return next((one for one in self.sources if one.name == name), None)

    def settings_of(self, source: str) -> SourceSettings:
        """Of a source by its name; of captures that no source names, those of `unlisted`."""
        return self.source_called(source) or self.unlisted

    def source_of(self, path: Path) -> SourceConfig | None:
        """The source whose folder holds `path`; the innermost where sources are nested."""
        holding = [source for source in self.sources if path.is_relative_to(source.path)]
        return max(holding, key=lambda source: len(source.path.parts), default=None)

    def with_state(self, folder: Path) -> Config:
        """The same configuration with everything that is written in `folder` instead.

        Mail then goes to a mailbox folder too and never to a server, so that a trial reaches
        nobody, and links to no dashboard.
        """
        folder = folder.absolute()
        return self.model_copy(
            update={
                "record": self.record.model_copy(
                    update={
                        "folder": folder,
                        "database": None,
                        "backups": self.record.backups.model_copy(update={"folder": None}),
                    }
                ),
                "outlets": self.outlets.model_copy(
                    update={
                        "email": self.outlets.email.model_copy(
                            update={
                                "server": None,
                                "mailbox": None,
                                "username": None,
                                "password_file": None,  # nosec B105 # a path
                                "ca_file": None,
                            }
                        ),
                        "removal": self.outlets.removal.model_copy(
                            update={"folder": None, "pick_logs": PickLogsConfig()}
                        ),
                        "channels": (),
                        "check_in": CheckInConfig(),
                        "dashboard": self.outlets.dashboard.model_copy(
                            update={"url": None, "secret_file": None}  # nosec B105 # a path
                        ),
                    }
                ),
            }
        )


def settings_sha256(config: Config, source: SourceSettings) -> str:
    """Hash of every setting that a measurement of a capture of `source` depends on."""
    removal = config.decisions.removal
    relevant = {
        # The model is named by its own hash, wherever its folder lies.
        "segmentation": config.segmentation.model_dump(mode="json", exclude={"model"}),
        "pixel_size_um": source.pixel_size_um,
        "well_diameter_mm": source.well_diameter_mm,
        "channel": source.channel,
        "aiming": removal.model_dump(
            mode="json",
            include={"min_region_um2", "min_probability", "max_undifferentiated"}
            | {"whole_colony_above", "earlier_scans"},
        )
        | asdict(removal.targeting),
    }
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
