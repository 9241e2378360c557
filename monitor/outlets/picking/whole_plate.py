"""All approved plans of a plate's wells in one list, well by well.

Wells are visited row by row, to and fro; the hits of a well in the order of its plan. Each line
names its plan. `visit` counts over the whole list, `order` within the plan, as logs of the picker
have it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import yaml

from monitor.config import ExportFormat
from monitor.culture import PlanStatus, RemovalPlan
from monitor.culture.plates import WELL
from monitor.errors import OutletError
from monitor.outlets.picking.csv_list import COLUMNS, csv_rows
from monitor.outlets.picking.formats import FORMATS
from monitor.outlets.picking.handout import Contents, Handout
from monitor.outlets.picking.json_plan import plan_document
from monitor.outlets.picking.mapped_csv import echo_heading, echo_rows, mapped_heading, mapped_rows
from monitor.outlets.spreadsheets import as_csv
from monitor.stage.vessels import well_of

SCHEMA = "colonywatch/removal-plate/1"
_OPEN = (PlanStatus.APPROVED, PlanStatus.EXPORTED)


@dataclass(frozen=True)
class PlatePlans:
    """plans : that may be carried out now, in the order of the wells

    left_out : a sentence for each well with a plan that may not be
    """

    plans: tuple[RemovalPlan, ...]
    left_out: tuple[str, ...]


def plate_of(dish: str) -> str | None:
    """``3500003816`` of ``3500003816/A1``; None where the dish is no well of a plate."""
    return dish.rpartition("/")[0] if well_of(dish) else None


def plans_of_plate(plans: Sequence[RemovalPlan], plate: str, now: datetime) -> PlatePlans:
    """Of each well the plan that may be carried out.

    plans : newest first, of any dishes
    """
    wells: dict[str, list[RemovalPlan]] = {}
    for plan in plans:
        if plate_of(plan.dish) == plate:
            wells.setdefault(plan.dish, []).append(plan)
    chosen, left_out = [], []
    for dish in sorted(wells, key=_turn):
        why = None
        for plan in wells[dish]:
            why_not = _why_not(plan, now)
            if why_not is None:
                chosen.append(plan)
                why = None
                break
            # What is said is of the newest.
            why = why or f"{well_of(dish)}: plan {plan.id} {why_not}"
        if why is not None:
            left_out.append(why)
    return PlatePlans(tuple(chosen), tuple(left_out))


def _turn(dish: str) -> tuple[int, int]:
    """Rows one after the other, every other one backwards."""
    found = WELL.fullmatch(well_of(dish) or "")
    assert found is not None
    letters, number = found.groups()
    row = ord(letters[-1]) - ord("A") + 26 * (len(letters) - 1)
    return row, int(number) * (-1 if row % 2 else 1)


def _why_not(plan: RemovalPlan, now: datetime) -> str | None:
    if plan.status is PlanStatus.DRAFT:
        return f"is a draft (colonywatch removals approve {plan.id})"
    if plan.status not in _OPEN:
        return f"is {plan.status}"
    if plan.expires_at <= now:
        return f"expired at {plan.expires_at:%Y-%m-%d %H:%M} UTC"
    if plan.handover is not None and plan.handover.to == "sila":
        return "was taken by a SiLA 2 client"
    return None


def whole_plate(handouts: Sequence[Handout], form: ExportFormat) -> Contents:
    """The plans of a plate in one file, or, for formats in pixels, in one file a capture.

    handouts : at least one, in the order of the visits
    Raises OutletError where a format cannot say what the plans say.
    """
    frames = {one.plan.frame for one in handouts}
    calibrations = {one.plan.picker_calibration_id for one in handouts}
    if len(frames) > 1 or len(calibrations) > 1:
        raise OutletError(
            "the plans do not aim in the same frame: some were made before the picker's "
            "calibration was changed; export those plans one by one",
            permanent=True,
        )
    ordered = _numbered(handouts)
    joined = FORMATS[form].join(ordered)
    if joined is not None:
        return {"": joined}
    contents: dict[str, bytes] = {}
    for one in ordered:
        found = FORMATS[form].write(one)
        if contents.keys() & found.keys():
            raise OutletError(
                f"{form} cannot hold several plans in one file; export those plans one by one",
                permanent=True,
            )
        contents |= found
    return contents


def _numbered(handouts: Sequence[Handout]) -> list[Handout]:
    total, before, ordered = sum(len(one.visits) for one in handouts), 0, []
    for one in handouts:
        ordered.append(replace(one, visited_before=before, visited_in_all=total))
        before += len(one.visits)
    return ordered


def csv_plate(handouts: Sequence[Handout]) -> bytes:
    """The plain list of all wells."""
    rows = [row for one in handouts for row in csv_rows(one)]
    return as_csv([COLUMNS, *rows], separator=handouts[0].csv.delimiter).encode()


def mapped_plate(handouts: Sequence[Handout]) -> bytes:
    """The list with the site's own columns."""
    rows = [row for one in handouts for row in mapped_rows(one)]
    heading = mapped_heading(handouts[0])
    return as_csv([heading, *rows], separator=handouts[0].csv.delimiter).encode()


def echo_plate(handouts: Sequence[Handout]) -> bytes:
    """The transfers to all wells."""
    rows = [row for one in handouts for row in echo_rows(one)]
    return as_csv([echo_heading(handouts[0]), *rows]).encode()


def json_plate(handouts: Sequence[Handout]) -> bytes:
    """The documents of all plans in one."""
    document = {
        "schema": SCHEMA,
        "plate": plate_of(handouts[0].plan.dish),
        "plans": [
            plan_document(one.plan, calibration_rms_um=one.calibration_rms_um) for one in handouts
        ],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def positions_plate(handouts: Sequence[Handout]) -> bytes:
    """Micro-Manager's positions of all wells."""
    documents: list[dict[str, Any]] = [
        json.loads(FORMATS["pos"].write(one)[""]) for one in handouts
    ]
    first, *others = documents
    for other in others:
        first["map"]["StagePositions"]["array"] += other["map"]["StagePositions"]["array"]
    return (json.dumps(first, indent=2, allow_nan=False) + "\n").encode()


def sequence_plate(handouts: Sequence[Handout]) -> bytes:
    """One sequence through all wells."""
    documents: list[dict[str, Any]] = [
        yaml.safe_load(FORMATS["useq"].write(one)[""]) for one in handouts
    ]
    joined = documents[0] | {
        "metadata": {"plans": [one["metadata"] for one in documents]},
        "stage_positions": [place for one in documents for place in one["stage_positions"]],
    }
    return yaml.safe_dump(joined, sort_keys=False, allow_unicode=True).encode()
