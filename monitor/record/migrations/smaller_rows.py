"""From revision 0007 to 0008: the tables that grow with each capture, in a third of their room.

Millions of rows are copied some thousand at a time, each portion a transaction with how far it
got, so that a program that is ended in the middle goes on from there; the old tables stay as they
are until all is copied. Every number is kept to the last bit.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from monitor.record.tables import AnyText, Digest, FilePath, Moment, Packed, UtcDateTime

FROM = "0007"
SUFFIX = "_next"
PORTION = 4_000
# In this order: readings are told by their measurements what their model was called.
MOVED = (
    "scan", "capture", "file", "measurement", "reading", "reading_measurement", "reading_colonies",
)  # fmt: skip


def begin(connection: sa.Connection) -> None:
    """Make the new tables beside the old ones, and the list of how far each is copied."""
    if sa.inspect(connection).has_table("moving"):
        return
    create_tables(Operations(MigrationContext.configure(connection)), SUFFIX)
    _MOVING.create(connection)


def copy_some(connection: sa.Connection, *, portion: int = PORTION) -> int:
    """Copy the next rows of the first table that is not done. Returns how many; 0 = all is done."""
    for name in MOVED:
        last = connection.scalar(sa.select(_MOVING.c.last).where(_MOVING.c.name == name))
        old = _OLD[name]
        rows = connection.execute(
            sa.select(old).where(old.c.rowid > (last or 0)).order_by(old.c.rowid).limit(portion)
        ).all()
        if not rows:
            continue
        values = _COPIED[name](connection, rows)
        connection.execute(sa.insert(_NEW[name]), values)
        if last is None:
            connection.execute(sa.insert(_MOVING).values(name=name, last=rows[-1].rowid))
        else:
            connection.execute(
                sa.update(_MOVING).where(_MOVING.c.name == name).values(last=rows[-1].rowid)
            )
        return len(rows)
    return 0


def left(connection: sa.Connection) -> int:
    """About how many rows are still to be copied."""
    count = 0
    for name in MOVED:
        done = connection.scalar(sa.select(_MOVING.c.last).where(_MOVING.c.name == name)) or 0
        count += max(0, (connection.scalar(sa.select(sa.func.max(_OLD[name].c.rowid))) or 0) - done)
    return count


def finish(op: Any) -> None:
    """Put the new tables in the place of the old ones. Foreign keys must not be enforced."""
    for name in MOVED:
        op.drop_table(name)
    for name in MOVED:
        op.rename_table(name + SUFFIX, name)
    op.drop_table("moving")
    create_indices(op)


# --- the new tables ----------------------------------------------------------------------------


def create_tables(op: Any, suffix: str) -> None:
    def table(name: str, *columns: Any, **options: Any) -> None:
        op.create_table(name + suffix, *columns, **options)

    def number(name: str, *, empty: bool = True) -> sa.Column[Any]:
        return sa.Column(name, sa.Double(), nullable=empty)

    def whole(name: str, *, empty: bool = False, **options: Any) -> sa.Column[Any]:
        return sa.Column(name, sa.Integer(), nullable=empty, **options)

    def large(name: str, *, empty: bool = False) -> sa.Column[Any]:
        return sa.Column(name, sa.BigInteger(), nullable=empty)

    def refers(owner: str, column: str, to: str, **options: Any) -> sa.ForeignKeyConstraint:
        name = f"fk_{owner}_{column}"
        return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=name, **options)

    def text(name: str, *, empty: bool = True, length: int | None = None) -> sa.Column[Any]:
        kind = sa.Text() if length is None else sa.String(length)
        return sa.Column(name, kind, nullable=empty)

    op.create_table(
        "analysis",
        whole("id"),
        text("model_name", empty=False),
        text("model_sha256", empty=False, length=64),
        text("settings_sha256", empty=False, length=64),
        sa.PrimaryKeyConstraint("id", name="pk_analysis"),
        sa.UniqueConstraint(
            "model_sha256", "settings_sha256", "model_name",
            name="uq_analysis_model_sha256_settings_sha256_model_name",
        ),
    )  # fmt: skip
    op.create_table(
        "folder",
        whole("id"),
        text("path", empty=False),
        sa.PrimaryKeyConstraint("id", name="pk_folder"),
        sa.UniqueConstraint("path", name="uq_folder_path"),
    )
    table(
        "scan",
        whole("id"), whole("dish_id"), text("key"), large("first_at"), large("last_at"),
        large("last_taken_at"), sa.Column("dirty", sa.Boolean(), nullable=False),
        whole("reading_id", empty=True),
        sa.PrimaryKeyConstraint("id", name="pk_scan"),
        refers("scan", "dish_id", "dish"), refers("scan", "reading_id", "reading"),
    )  # fmt: skip
    table(
        "capture",
        whole("id"), sa.Column("sha256_head", sa.LargeBinary()),
        sa.Column("sha256_tail", sa.LargeBinary()), whole("folder_id"),
        text("name", empty=False), text("source", empty=False, length=100),
        text("state", empty=False, length=12), text("reason", length=40), text("message"),
        whole("attempts"), whole("crashes"), large("next_try_at", empty=True),
        text("claimed_by", length=120), large("first_seen_at"), large("finished_at", empty=True),
        text("named_dish"), text("field"), large("acquired_at", empty=True),
        sa.Column("fingerprint", sa.LargeBinary()), whole("scan_id", empty=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'working', 'measured', 'recorded', 'unreadable')",
            name="ck_capture_state",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_capture"),
        sa.UniqueConstraint("sha256_head", name="uq_capture_sha256_head"),
        refers("capture", "folder_id", "folder"), refers("capture", "scan_id", "scan"),
    )  # fmt: skip
    table(
        "file",
        whole("folder_id"), text("name", empty=False), large("size"), large("mtime_ns"),
        whole("capture_id"),
        sa.Column("is_copy", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("folder_id", "name", name="pk_file"),
        refers("file", "folder_id", "folder"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    table(
        "measurement",
        whole("id"), whole("capture_id"), whole("analysis_id"), large("background_px"),
        large("undifferentiated_px"), large("differentiated_px"), number("pixel_size_um"),
        number("stage_x_um"), number("stage_y_um"), number("stage_z_um"),
        number("uncertainty", empty=False), large("created_at"),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_measurement"),
        sa.UniqueConstraint(
            "capture_id", "analysis_id", name="uq_measurement_capture_id_analysis_id"
        ),
        refers("measurement", "capture_id", "capture"),
        refers("measurement", "analysis_id", "analysis"),
    )  # fmt: skip
    table(
        "reading",
        whole("id"), whole("dish_id"), whole("scan_id"), whole("version"), large("at"),
        whole("captures"), number("background_um2"), number("undifferentiated_um2"),
        number("differentiated_um2"), number("differentiated_fraction"), number("confluence"),
        number("uncertainty", empty=False), number("pixel_size_um"), whole("analysis_id"),
        whole("colonies"), sa.Column("doubts", sa.JSON(), nullable=False),
        sa.Column("joined", sa.String(10), server_default="one field", nullable=False),
        number("imaged_share"), number("colony_um2"), large("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_reading"),
        sa.UniqueConstraint("scan_id", "version", name="uq_reading_scan_id_version"),
        refers("reading", "dish_id", "dish"), refers("reading", "scan_id", "scan"),
        refers("reading", "analysis_id", "analysis"),
    )  # fmt: skip
    table(
        "reading_measurement",
        whole("reading_id"), whole("measurement_id"),
        sa.PrimaryKeyConstraint("reading_id", "measurement_id", name="pk_reading_measurement"),
        refers("reading_measurement", "reading_id", "reading"),
        refers("reading_measurement", "measurement_id", "measurement"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    table(
        "reading_colonies",
        whole("reading_id"), sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("maps", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("reading_id", name="pk_reading_colonies"),
        refers("reading_colonies", "reading_id", "reading"),
    )  # fmt: skip


def create_indices(op: Any) -> None:
    def index(
        name: str, table: str, *columns: str, where: str | None = None, **options: Any
    ) -> None:
        if where is not None:
            # The very words of the questions: a truth is a number on SQLite.
            is_truth = " " not in where
            options["sqlite_where"] = sa.text(f"{where} = 1" if is_truth else where)
            options["postgresql_where"] = sa.text(where)
        op.create_index(name, table, list(columns), **options)

    index("uq_scan_dish_id_key", "scan", "dish_id", "key", unique=True, where="key IS NOT NULL")
    index("ix_scan_dish_id_first_at", "scan", "dish_id", "first_at")
    index("ix_scan_dirty", "scan", "last_taken_at", where="dirty")
    index(
        "ix_capture_state_next_try_at", "capture", "state", "next_try_at",
        where="state <> 'recorded'",
    )  # fmt: skip
    index("ix_capture_scan_id", "capture", "scan_id")
    index("ix_file_capture_id", "file", "capture_id", where="is_copy")
    index("ix_reading_dish_id_at", "reading", "dish_id", "at")


# --- copying -----------------------------------------------------------------------------------

_META = sa.MetaData()
_MOVING = sa.Table(
    "moving",
    _META,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("last", sa.BigInteger(), nullable=False),
)
_ANALYSIS = sa.table(
    "analysis", sa.column("id"), sa.column("model_name", AnyText()), sa.column("model_sha256"),
    sa.column("settings_sha256"),
)  # fmt: skip
_FOLDER = sa.table("folder", sa.column("id"), sa.column("path", FilePath()))


def _columns(kinds: Any) -> list[Any]:
    return [
        sa.column(name) if kind is None else sa.column(name, kind)
        for kind, names in kinds.items()
        for name in names.split()
    ]


_OLD = {
    name: sa.table(name, sa.column("rowid"), *_columns(kinds))
    for name, kinds in {
        "scan": {None: "id dish_id key dirty reading_id",
                 UtcDateTime(): "first_at last_at last_taken_at"},
        "capture": {None: "id sha256 source state reason message attempts crashes claimed_by "
                          "named_dish field fingerprint scan_id",
                    FilePath(): "path",
                    UtcDateTime(): "next_try_at first_seen_at finished_at acquired_at"},
        "file": {None: "size mtime_ns capture_id", FilePath(): "path"},
        "measurement": {None: "id capture_id model_name model_sha256 settings_sha256 background_px "
                              "undifferentiated_px differentiated_px pixel_size_um stage_x_um "
                              "stage_y_um stage_z_um uncertainty overlay label_map detail",
                        UtcDateTime(): "created_at"},
        "reading": {None: "id dish_id scan_id version captures background_um2 "
                          "undifferentiated_um2 differentiated_um2 differentiated_fraction "
                          "confluence uncertainty pixel_size_um model_sha256 settings_sha256 "
                          "colonies doubts joined imaged_share colony_um2",
                    UtcDateTime(): "at created_at"},
        "reading_measurement": {None: "reading_id measurement_id"},
        "reading_colonies": {None: "reading_id packed maps"},
    }.items()
}  # fmt: skip
_NEW = {
    name: sa.table(name + SUFFIX, *_columns(kinds))
    for name, kinds in {
        "scan": {None: "id dish_id key dirty reading_id",
                 Moment(): "first_at last_at last_taken_at"},
        "capture": {None: "id folder_id source state reason message attempts crashes claimed_by "
                          "named_dish field scan_id",
                    FilePath(): "name", Digest(16): "sha256_head sha256_tail",
                    Digest(8): "fingerprint",
                    Moment(): "next_try_at first_seen_at finished_at acquired_at"},
        "file": {None: "folder_id size mtime_ns capture_id is_copy", FilePath(): "name"},
        "measurement": {None: "id capture_id analysis_id background_px undifferentiated_px "
                              "differentiated_px pixel_size_um stage_x_um stage_y_um stage_z_um "
                              "uncertainty",
                        Moment(): "created_at", Packed(): "detail"},
        "reading": {None: "id dish_id scan_id version captures background_um2 "
                          "undifferentiated_um2 differentiated_um2 differentiated_fraction "
                          "confluence uncertainty pixel_size_um analysis_id colonies doubts joined "
                          "imaged_share colony_um2",
                    Moment(): "at created_at"},
        "reading_measurement": {None: "reading_id measurement_id"},
        "reading_colonies": {None: "reading_id maps", Packed(): "packed"},
    }.items()
}  # fmt: skip

_Rows = Sequence[Any]
_Values = list[dict[str, Any]]


def _as_it_was(_: sa.Connection, rows: _Rows) -> _Values:
    return [_without(row, "rowid") for row in rows]


def _without(row: Any, *names: str) -> dict[str, Any]:
    return {key: value for key, value in row._mapping.items() if key not in names}


def _by_folder(connection: sa.Connection, rows: _Rows) -> _Values:
    folders: dict[Path, int] = {}
    for row in rows:
        folder = row.path.parent
        if folder not in folders:
            folders[folder] = _row_of(connection, _FOLDER, path=folder)
    return [
        {
            **_without(row, "rowid", "path"),
            "folder_id": folders[row.path.parent],
            "name": Path(row.path.name),
        }
        for row in rows
    ]


def _captures(connection: sa.Connection, rows: _Rows) -> _Values:
    """What is measured has its dish by its scan."""
    moved = []
    for one in _by_folder(connection, rows):
        sha256 = one.pop("sha256")
        if one["state"] in ("measured", "recorded"):
            one["named_dish"] = None
        head, tail = (None, None) if sha256 is None else (sha256[:32], sha256[32:])
        moved.append({**one, "sha256_head": head, "sha256_tail": tail})
    return moved


def _files(connection: sa.Connection, rows: _Rows) -> _Values:
    """A file is a copy where its capture lies elsewhere."""
    old = _OLD["capture"]
    wanted = [row.capture_id for row in rows]
    found = connection.execute(sa.select(old.c.id, old.c.path).where(old.c.id.in_(wanted)))
    lies_at = {row.id: row.path for row in found}
    return [
        {**one, "is_copy": lies_at[row.capture_id] != row.path}
        for one, row in zip(_by_folder(connection, rows), rows, strict=True)
    ]


def _measurements(connection: sa.Connection, rows: _Rows) -> _Values:
    moved = []
    analyses: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.model_name, row.model_sha256, row.settings_sha256)
        if key not in analyses:
            analyses[key] = _row_of(
                connection,
                _ANALYSIS,
                model_name=key[0],
                model_sha256=key[1],
                settings_sha256=key[2],
            )
        detail = {**json.loads(row.detail), "overlay": row.overlay, "label_map": row.label_map}
        moved.append(
            {
                **_without(
                    row, "rowid", "model_name", "model_sha256", "settings_sha256", "overlay",
                    "label_map",
                ),
                "analysis_id": analyses[key],
                "detail": detail,
            }
        )  # fmt: skip
    return moved


def _readings(connection: sa.Connection, rows: _Rows) -> _Values:
    """They do not say what the model was called; their measurements do."""
    moved = []
    analyses: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.model_sha256, row.settings_sha256)
        if key not in analyses:
            known = connection.scalar(
                sa.select(_ANALYSIS.c.id)
                .where(_ANALYSIS.c.model_sha256 == key[0], _ANALYSIS.c.settings_sha256 == key[1])
                .order_by(_ANALYSIS.c.id)
                .limit(1)
            )
            analyses[key] = known or _row_of(
                connection, _ANALYSIS, model_name="", model_sha256=key[0], settings_sha256=key[1]
            )
        values = _without(row, "rowid", "model_sha256", "settings_sha256")
        moved.append({**values, "analysis_id": analyses[key]})
    return moved


def _colonies(_: sa.Connection, rows: _Rows) -> _Values:
    return [{**_without(row, "rowid"), "packed": _across(row.packed)} for row in rows]


def _across(packed: bytes) -> dict[str, Any]:
    """The colonies of a reading: from a list of each one's numbers to a list of each number."""
    document = json.loads(zlib.decompress(packed))
    rows = document["colonies"]
    return {
        "frames": document["frames"],
        "number": [row[0] for row in rows],
        "area": [float(row[1]) for row in rows],
        "fraction": [float(row[2]) for row in rows],
        "centre": [[float(row[3]), float(row[4])] for row in rows],
        "frame": [row[5] for row in rows],
        "cut": [row[6] for row in rows],
        "missed": [row[7] for row in rows],
        "came_from": {str(place): row[8] for place, row in enumerate(rows) if row[8]},
        "gone": document.get("gone", []),
    }


def _row_of(connection: sa.Connection, table: Any, **values: Any) -> int:
    known = connection.scalar(
        sa.select(table.c.id).where(*(table.c[key] == value for key, value in values.items()))
    )
    if known is None:
        connection.execute(sa.insert(table).values(**values))
        return _row_of(connection, table, **values)
    return int(known)


_COPIED: dict[str, Callable[[sa.Connection, _Rows], _Values]] = {
    "scan": _as_it_was,
    "capture": _captures,
    "file": _files,
    "measurement": _measurements,
    "reading": _readings,
    "reading_measurement": _as_it_was,
    "reading_colonies": _colonies,
}
