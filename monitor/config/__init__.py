"""config.yaml as frozen values, a section a stage; every problem at once."""

from monitor.config.decisions import (
    DecisionsConfig,
    DifferentiationConfig,
    OverrideConfig,
    SilenceConfig,
)
from monitor.config.export_formats import EXPORT_FORMATS, ExportFormat
from monitor.config.loading import find_config, load_config, parse_config
from monitor.config.mail import EmailConfig, QuietHoursConfig, RecipientConfig
from monitor.config.name_presets import NAME_PRESETS, NamePreset
from monitor.config.picking import (
    ColumnConfig,
    PickLogsConfig,
    PickValue,
    RemovalOutletConfig,
)
from monitor.config.record import BackupsConfig, KeepConfig, RecordConfig
from monitor.config.removal import PinConfig, RemovalConfig
from monitor.config.schema import Config, OutletsConfig, settings_sha256
from monitor.config.sources import (
    CalibrationConfig,
    SourceConfig,
    SourceSettings,
    StageLimitsConfig,
    UnlistedSettings,
    VesselConfig,
)

__all__ = [
    "EXPORT_FORMATS",
    "NAME_PRESETS",
    "BackupsConfig",
    "CalibrationConfig",
    "ColumnConfig",
    "Config",
    "DecisionsConfig",
    "DifferentiationConfig",
    "EmailConfig",
    "ExportFormat",
    "KeepConfig",
    "NamePreset",
    "OutletsConfig",
    "OverrideConfig",
    "PickLogsConfig",
    "PickValue",
    "PinConfig",
    "QuietHoursConfig",
    "RecipientConfig",
    "RecordConfig",
    "RemovalConfig",
    "RemovalOutletConfig",
    "SilenceConfig",
    "SourceConfig",
    "SourceSettings",
    "StageLimitsConfig",
    "UnlistedSettings",
    "VesselConfig",
    "find_config",
    "load_config",
    "parse_config",
    "settings_sha256",
]
