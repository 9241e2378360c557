"""The tables. Rows stay inside `record`; the rest of the program sees the values of `culture`."""

from monitor.record.tables.base import Base
from monitor.record.tables.captures import (
    AnalysisRow,
    CaptureRow,
    FileRow,
    FolderRow,
    MeasurementRow,
    halves_of,
)
from monitor.record.tables.dishes import AnnotationRow, DishRow, SourceRow
from monitor.record.tables.outbox import DigestRow, OutboxRow, new_mail_id
from monitor.record.tables.people import ActRow, PersonRow, SessionRow, TokenRow
from monitor.record.tables.plans import CalibrationRow, PickLogRow, RegionFateRow, RemovalPlanRow
from monitor.record.tables.programs import AuditRow, ProcessRow, RecordRow
from monitor.record.tables.scales import ScaleEvidenceRow, ScaleRow
from monitor.record.tables.scans import (
    AlertRow,
    ReadingColoniesRow,
    ReadingMeasurementRow,
    ReadingRow,
    ScanRow,
)

__all__ = [
    "ActRow",
    "AlertRow",
    "AnalysisRow",
    "AnnotationRow",
    "AuditRow",
    "Base",
    "CalibrationRow",
    "CaptureRow",
    "DigestRow",
    "DishRow",
    "FileRow",
    "FolderRow",
    "MeasurementRow",
    "OutboxRow",
    "PersonRow",
    "PickLogRow",
    "ProcessRow",
    "ReadingColoniesRow",
    "ReadingMeasurementRow",
    "ReadingRow",
    "RecordRow",
    "RegionFateRow",
    "RemovalPlanRow",
    "ScaleEvidenceRow",
    "ScaleRow",
    "ScanRow",
    "SessionRow",
    "SourceRow",
    "TokenRow",
    "halves_of",
    "new_mail_id",
]
