"""What the segmentation worker is asked for. Light: the daemon's own process never loads torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from monitor.config import RemovalConfig, SourceSettings
from monitor.culture import NamedParts, ScaleInUse


@dataclass(frozen=True)
class FieldRequest:
    """All that the measuring of one capture depends on. Crosses to the worker process.

    sha256 : the bytes that were claimed; other bytes are not measured in their name
    scales : of its source, for a capture of which nothing says the pixel size
    """

    path: Path
    sha256: str
    named: NamedParts
    settings: SourceSettings
    settings_sha256: str
    state_folder: Path
    removal: RemovalConfig = field(default_factory=RemovalConfig)
    scales: tuple[ScaleInUse, ...] = ()
