"""Whole tables as files, streamed: a portion is read, written and gone before the next.

`FILES` is the data dictionary: what is not in it is not exported, and readers get its words.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from monitor.config import Config
from monitor.culture import Alert, Reading
from monitor.outlets.spreadsheets import plain_cell
from monitor.record.store import Store

PORTION = 2_000
_GROUP = 20_000  # rows of a Parquet row group
_PARQUET = {"whole": "int64", "number": "float64", "text": "string", "yes/no": "bool_"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """kind : whole, number, text, time or yes/no"""

    name: str
    kind: str
    words: str
    unit: str | None = None


@dataclass(frozen=True)
class File:
    words: str
    columns: tuple[Column, ...]
    rows: Callable[[Store, Config, str | None], Iterator[Sequence[Row]]]


# --- what is in them ---------------------------------------------------------------------------


def _times(name: str, moment: datetime | None, config: Config, source: str | None) -> Row:
    zone = config.zone_of(source)
    local = None if moment is None else moment.astimezone(zone)
    return {
        f"{name}_utc": moment,
        f"{name}_local": None if local is None else f"{local:%Y-%m-%d %H:%M:%S}",
        "zone": zone.key,
    }


def _readings(store: Store, config: Config, dish: str | None) -> Iterator[Sequence[Row]]:
    after = 0
    while found := store.listings.readings(after=after, limit=PORTION, dish=dish):
        after = found[-1][0].id
        yield [_reading_row(one, source, config) for one, source in found]


def _reading_row(one: Reading, source: str, config: Config) -> Row:
    low, high = one.doubt.interval or (None, None)
    return {
        "reading": one.id, "dish": one.dish, "source": source,
        **_times("at", one.at, config, source),
        "version": one.version, "fields": one.captures,
        "differentiated_fraction": one.differentiated_fraction,
        "differentiated_low": low, "differentiated_high": high,
        "interval_calibrated": None if low is None else one.doubt.calibrated,
        "confluence": one.confluence, "background_um2": one.background_um2,
        "undifferentiated_um2": one.undifferentiated_um2,
        "differentiated_um2": one.differentiated_um2, "colonies": one.colonies,
        "colony_um2": one.colony_um2, "imaged_share": one.imaged_share,
        "joined": str(one.joined), "uncertainty": one.uncertainty, "in_doubt": one.in_doubt,
        "doubts": "; ".join(one.why_in_doubt) or None, "pixel_size_um": one.pixel_size_um,
        "assumed_pixel_size_um": one.assumed_pixel_size_um, "model_sha256": one.model_sha256,
        "settings_sha256": one.settings_sha256,
    }  # fmt: skip


def _colonies(store: Store, config: Config, dish: str | None) -> Iterator[Sequence[Row]]:
    after = 0
    while found := store.listings.colonies(after=after, limit=PORTION // 10, dish=dish):
        after = found[-1][0]
        yield [
            {
                "reading": reading, "dish": name, "source": source,
                **_times("at", one.at, config, source), "colony": one.colony.number,
                "area": one.colony.area,
                "area_unit": "px" if one.colony.frame.endswith(" px") else "um2",
                "differentiated_fraction": one.colony.differentiated_fraction,
                "is_cut": one.colony.is_cut,
                "came_from": " ".join(map(str, one.colony.came_from)) or None,
            }
            for reading, name, source, one in found
        ]  # fmt: skip


def _alerts(store: Store, config: Config, dish: str | None) -> Iterator[Sequence[Row]]:
    after = 0
    while found := store.listings.alerts(after=after, limit=PORTION, dish=dish):
        after = found[-1].id
        yield [_alert_row(one, config) for one in found]


def _alert_row(one: Alert, config: Config) -> Row:
    return {
        "alert": one.id, "dish": one.dish or None, "source": one.source,
        **_times("at", one.at, config, one.source), "topic": str(one.topic),
        "kind": str(one.kind), "severity": str(one.severity), "status": str(one.status),
        "differentiated_fraction": one.fraction, "text": one.text, "role": one.role,
        "reading": one.reading_id, "created_utc": one.created_at, "closed_utc": one.closed_at,
        "acknowledged_utc": one.acknowledged_at, "acknowledged_by": one.acknowledged_by,
        "note": one.note, "snoozed_until_utc": one.snoozed_until,
        "held_back": None if one.held_back is None else str(one.held_back),
    }  # fmt: skip


def _plans(store: Store, config: Config, dish: str | None) -> Iterator[Sequence[Row]]:
    for plan_id in store.listings.plan_ids(dish=dish):
        plan = store.plans.plan(plan_id)
        fates = {fate.region_id: fate for fate in plan.fates}
        rows = []
        for target, hit in plan.visits:
            fate = fates.get(target.region_id)
            rows.append({
                "plan": plan.id, "dish": plan.dish, "source": plan.source,
                **_times("created", plan.created_at, config, plan.source or None),
                "status": str(plan.status), "expires_utc": plan.expires_at,
                "approved_by": plan.approved_by, "approved_utc": plan.approved_at,
                "region": target.region_id, "region_um2": target.area_um2, "hit": hit.order,
                "stage_x_um": hit.pick_x_um, "stage_y_um": hit.pick_y_um,
                "stage_z_um": hit.pick_z_um, "well_x_um": hit.well_x_um,
                "well_y_um": hit.well_y_um,
                "outcome": None if fate is None or fate.outcome is None else str(fate.outcome),
                "check": None if fate is None or fate.check is None else str(fate.check),
            })  # fmt: skip
        yield rows


_DISH = Column("dish", "text", "Name of the dish")
_SOURCE = Column("source", "text", "Name of the imager's folder in the configuration")


def _at(name: str, words: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_utc", "time", words, "UTC"),
        Column(f"{name}_local", "text", f"{words}, in the source's time zone", "zone"),
        Column("zone", "text", "Time zone of the source"),
    )


_SHARE = Column("differentiated_fraction", "number", "Differentiated share of all cells", "0..1")
FILES = {
    "readings": File("One row a scan of a dish: the reading that counts", (
        Column("reading", "whole", "Number of the reading"), _DISH, _SOURCE,
        *_at("at", "When the scan's first image was taken"),
        Column("version", "whole", "Grows when a scan is read anew"),
        Column("fields", "whole", "Images that the reading rests on"),
        _SHARE,
        Column("differentiated_low", "number", "Lower end of its 90 % interval", "0..1"),
        Column("differentiated_high", "number", "Upper end of its 90 % interval", "0..1"),
        Column("interval_calibrated", "yes/no", "Was the interval measured on such images?"),
        Column("confluence", "number", "Share of the imaged area that cells cover", "0..1"),
        Column("background_um2", "number", "Area without cells", "um2"),
        Column("undifferentiated_um2", "number", "Area of undifferentiated cells", "um2"),
        Column("differentiated_um2", "number", "Area of differentiated cells", "um2"),
        Column("colonies", "whole", "Colonies found"),
        Column("colony_um2", "number", "Median area of a colony", "um2"),
        Column("imaged_share", "number", "Share of the vessel that was imaged", "0..1"),
        Column("joined", "text", "How fields were put together: one field, placed, added up"),
        Column("uncertainty", "number", "Mean entropy of the classes", "0..1"),
        Column("in_doubt", "yes/no", "May it not be relied on? Empty: cannot be told"),
        Column("doubts", "text", "Why it is in doubt"),
        Column("pixel_size_um", "number", "Size of a pixel", "um"),
        Column("assumed_pixel_size_um", "number", "What was assumed where it is not known", "um"),
        Column("model_sha256", "text", "Model that read it"),
        Column("settings_sha256", "text", "Settings that it was read with"),
    ), _readings),
    "colonies": File("One row a colony of a scan", (
        Column("reading", "whole", "Number of the reading"), _DISH, _SOURCE,
        *_at("at", "When the scan's first image was taken"),
        Column("colony", "whole", "Its number in the dish, the same from scan to scan"),
        Column("area", "number", "Its area", "area_unit"),
        Column("area_unit", "text", "um2; px where the pixel size is not known"),
        _SHARE,
        Column("is_cut", "yes/no", "Does it go on beyond the image?"),
        Column("came_from", "text", "Numbers of colonies that it merged or split from"),
    ), _colonies),
    "alerts": File("One row a change that was told, or would have been", (
        Column("alert", "whole", "Number of the alert"), _DISH, _SOURCE,
        *_at("at", "When what it is about was seen"),
        Column("topic", "text", "What it is about"),
        Column("kind", "text", "raised, worsened or cleared"),
        Column("severity", "text", "notice, warning or critical"),
        Column("status", "text", "Status of the dish then"),
        _SHARE,
        Column("text", "text", "The alert as a sentence"),
        Column("role", "text", "change, again or replaced"),
        Column("reading", "whole", "Number of the reading that it is about"),
        Column("created_utc", "time", "When it was written down", "UTC"),
        Column("closed_utc", "time", "When it ended", "UTC"),
        Column("acknowledged_utc", "time", "When somebody said that they know", "UTC"),
        Column("acknowledged_by", "text", "Who that was"),
        Column("note", "text", "What they wrote"),
        Column("snoozed_until_utc", "time", "Until when mails rest", "UTC"),
        Column("held_back", "text", "Why it was not mailed"),
    ), _alerts),
    "plans": File("One row a hit of a removal plan", (
        Column("plan", "text", "Number of the plan"), _DISH, _SOURCE,
        *_at("created", "When the plan was made"),
        Column("status", "text", "Where the plan stands"),
        Column("expires_utc", "time", "Until when it can be carried out", "UTC"),
        Column("approved_by", "text", "Who approved it"),
        Column("approved_utc", "time", "When that was", "UTC"),
        Column("region", "text", "Region that the hit is in"),
        Column("region_um2", "number", "Area of the region", "um2"),
        Column("hit", "whole", "Place in the order of the plan, from 1"),
        Column("stage_x_um", "number", "Where to aim on the stage", "um"),
        Column("stage_y_um", "number", "Where to aim on the stage", "um"),
        Column("stage_z_um", "number", "Where to aim on the stage", "um"),
        Column("well_x_um", "number", "The same from the centre of the well", "um"),
        Column("well_y_um", "number", "The same from the centre of the well", "um"),
        Column("outcome", "text", "What the picker said of the region"),
        Column("check", "text", "What the next scan showed of it"),
    ), _plans),
}  # fmt: skip


# --- how they are written ----------------------------------------------------------------------


def as_csv(file: File, portions: Iterator[Sequence[Row]], *, german: bool) -> Iterator[bytes]:
    """german : with semicolons, decimal commas, and a byte order mark, by which Excel
    knows UTF-8; times as it takes them for times
    """
    names = [column.name for column in file.columns]
    mark = "," if german else "."

    def text(rows: Sequence[Sequence[str]]) -> bytes:
        out = io.StringIO()
        csv.writer(out, delimiter=";" if german else ",", lineterminator="\r\n").writerows(rows)
        return out.getvalue().encode("utf-8", "replace")

    def cell(value: object) -> str:
        if isinstance(value, datetime):
            return f"{value:%Y-%m-%d %H:%M:%S}" if german else value.isoformat()
        if isinstance(value, bool):
            return ("WAHR" if value else "FALSCH") if german else str(value).lower()
        return plain_cell(value, mark=mark)

    yield ("\ufeff".encode() if german else b"") + text([names])
    for rows in portions:
        if rows:
            yield text([[cell(row[name]) for name in names] for row in rows])


class _Pipe(io.RawIOBase):
    """What was written and not yet taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        part = bytes(content)
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def as_parquet(file: File, portions: Iterator[Sequence[Row]]) -> Iterator[bytes]:
    """Times in UTC; what a column means is in its metadata. Raises ImportError without pyarrow."""
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        column.name: pa.timestamp("us", tz="UTC")
        if column.kind == "time"
        else getattr(pa, _PARQUET[column.kind])()
        for column in file.columns
    }
    schema = pa.schema([
        pa.field(column.name, types[column.name],
                 metadata={"words": column.words, "unit": column.unit or ""})
        for column in file.columns
    ])  # fmt: skip
    pipe = _Pipe()
    held: list[Row] = []
    with parquet.ParquetWriter(pa.PythonFile(pipe, mode="w"), schema, compression="zstd") as writer:
        for rows in portions:
            held += rows
            if len(held) >= _GROUP:
                writer.write_table(pa.Table.from_pylist(held, schema=schema))
                held.clear()
                yield pipe.take()
        if held:
            writer.write_table(pa.Table.from_pylist(held, schema=schema))
    yield pipe.take()


def file_name(what: str, suffix: str, now: datetime) -> str:
    return f"colonywatch-{what}-{now.astimezone(UTC):%Y%m%d}.{suffix}"
