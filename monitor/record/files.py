"""Files by their folders: the path of a folder stands once in the record, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.record.tables import AnalysisRow, CaptureRow, FileRow, FolderRow

# SQLite takes at most some 32,000 values in one statement.
_MANY = 10_000


def folder_at(session: Session, path: Path) -> FolderRow:
    """The folder's row, made here if there was none."""
    row = session.scalar(select(FolderRow).where(FolderRow.path == path))
    if row is None:
        row = FolderRow(path=path)
        session.add(row)
        session.flush()
    return row


def file_at(session: Session, path: Path) -> FileRow | None:
    """The file's row."""
    return session.scalar(
        select(FileRow)
        .join(FolderRow, FolderRow.id == FileRow.folder_id)
        .where(FolderRow.path == path.parent, FileRow.name == Path(path.name))
    )


def files_of(session: Session, capture: CaptureRow) -> list[FileRow]:
    """The files that hold a capture's bytes, the one where it lies first."""
    copies = session.scalars(
        select(FileRow)
        .where(FileRow.is_copy, FileRow.capture_id == capture.id)
        .order_by(FileRow.folder_id, FileRow.name)
    ).all()
    own = file_at(session, capture.path)
    return [*([own] if own is not None and own.capture_id == capture.id else []), *copies]


def by_folder(session: Session, paths: Iterable[Path]) -> Iterator[tuple[FolderRow, list[Path]]]:
    """Known folders of these paths with their names in it, so many at a time as a query takes."""
    names: dict[Path, list[Path]] = {}
    for path in paths:
        names.setdefault(path.parent, []).append(Path(path.name))
    for folder, held in names.items():
        row = session.scalar(select(FolderRow).where(FolderRow.path == folder))
        if row is not None:
            for first in range(0, len(held), _MANY):
                yield row, held[first : first + _MANY]


def analysis_of(
    session: Session, model_sha256: str, settings_sha256: str, model_name: str
) -> AnalysisRow:
    """The row of a model under one set of settings, made here if there was none."""
    row = session.scalar(
        select(AnalysisRow).where(
            AnalysisRow.model_sha256 == model_sha256,
            AnalysisRow.settings_sha256 == settings_sha256,
            AnalysisRow.model_name == model_name,
        )
    )
    if row is None:
        row = AnalysisRow(
            model_name=model_name, model_sha256=model_sha256, settings_sha256=settings_sha256
        )
        session.add(row)
        session.flush()
    return row
