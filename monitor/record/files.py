"""Files by their folders: the path of a folder stands once in the record, whatever it holds."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from monitor.record.session_cache import remembered
from monitor.record.tables import AnalysisRow, CaptureRow, FileRow, FolderRow

# SQLite takes at most some 32,000 values in one statement.
_MANY = 10_000


_FOLDER = select(FolderRow).where(FolderRow.path == bindparam("path"))
_FILE = select(FileRow).where(
    FileRow.folder_id == bindparam("folder"), FileRow.name == bindparam("name")
)


def folder_at(session: Session, path: Path) -> FolderRow:
    """The folder's row, made here if there was none."""
    row = known_folder(session, path)
    if row is None:
        row = FolderRow(path=path)
        session.add(row)
        session.flush()
    return row


def known_folder(session: Session, path: Path) -> FolderRow | None:
    """The folder's row."""
    known = remembered(session)
    row: FolderRow | None = known.get(path)
    if row is None:
        row = known[path] = session.scalar(_FOLDER, {"path": path})
    return row


def file_at(session: Session, path: Path) -> FileRow | None:
    """The file's row."""
    folder = known_folder(session, path.parent)
    if folder is None:
        return None
    return session.scalar(_FILE, {"folder": folder.id, "name": Path(path.name)})


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
        row = known_folder(session, folder)
        if row is not None:
            for first in range(0, len(held), _MANY):
                yield row, held[first : first + _MANY]


log = logging.getLogger(__name__)

_ANALYSIS = select(AnalysisRow).where(
    AnalysisRow.model_sha256 == bindparam("model"),
    AnalysisRow.settings_sha256 == bindparam("settings"),
    AnalysisRow.model_name == bindparam("name"),
    AnalysisRow.runner == bindparam("runner"),
)
_OTHER_RUNNERS = (
    select(AnalysisRow.runner)
    .where(
        AnalysisRow.model_sha256 == bindparam("model"),
        AnalysisRow.runner != "",
        AnalysisRow.runner != bindparam("runner"),
    )
    .order_by(AnalysisRow.id.desc())
    .limit(1)
)


def analysis_of(
    session: Session, model_sha256: str, settings_sha256: str, model_name: str, runner: str
) -> AnalysisRow:
    """The row of a model under one set of settings, run by one runner; made here if there was none.

    That another runner did the same model's arithmetic before is told when the row is made: once.
    """
    what = {
        "model": model_sha256,
        "settings": settings_sha256,
        "name": model_name,
        "runner": runner,
    }
    known, key = remembered(session), tuple(what.values())
    row: AnalysisRow | None = known.get(key)
    if row is None:
        row = known[key] = session.scalar(_ANALYSIS, what)
    if row is None:
        other = session.scalar(_OTHER_RUNNERS, what) if runner else None
        if other is not None:
            log.warning(
                "the model %s was run by %s before and is by %s now: readings on this record rest "
                "on both, and may differ by a few pixels in a thousand; set compute.runner where "
                "they must not",
                model_name,
                other,
                runner,
            )
        row = AnalysisRow(
            model_name=model_name,
            model_sha256=model_sha256,
            settings_sha256=settings_sha256,
            runner=runner,
        )
        session.add(row)
        session.flush()
    return row
