"""Removal plans as files in the folder that the picking hardware polls. A writer a format.

Each plan is a set of files of one stem. A set is complete when its ``.csv`` is there: it is
written last and withdrawn first, and each file appears whole or not at all. A picker that polls for
``*.csv`` thus never finds a set that lacks a part, and one that polls for ``*.json`` finds a file
that is whole in itself.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from monitor.culture import PlanStatus, RemovalPlan
from monitor.errors import OutletError
from monitor.outlets.picking.csv_list import plan_as_csv
from monitor.outlets.picking.json_plan import plan_as_json
from monitor.whole_files import write_whole

__all__ = ["file_stem", "plan_as_csv", "plan_as_json", "withdraw_plan", "write_plan"]

_FIT_FOR_THE_PICKER = (PlanStatus.APPROVED, PlanStatus.EXPORTED)
_SUFFIXES = (".json", ".csv")  # in the order of writing


def write_plan(
    plan: RemovalPlan,
    folder: Path,
    *,
    now: datetime,
    calibration_rms_um: float | None = None,
) -> list[Path]:
    """Put a plan where the picker looks for it; writing the same plan again replaces its files.

    calibration_rms_um : residual of the calibration named in the plan, where it is known
    Returns the files, in the order in which they were written.

    Raises OutletError; permanent where the plan may not be carried out (not approved, expired, no
    target), else the folder could not be written, and nothing of the plan is left there.
    """
    _refuse_unfit(plan, now)
    contents = {
        ".json": plan_as_json(plan, calibration_rms_um=calibration_rms_um).encode(),
        ".csv": plan_as_csv(plan, calibration_rms_um=calibration_rms_um).encode(),
    }
    paths = {suffix: folder / (file_stem(plan) + suffix) for suffix in _SUFFIXES}
    try:
        for suffix, path in paths.items():
            write_whole(path, contents[suffix])
    except OSError as problem:
        with suppress(OutletError):
            withdraw_plan(plan, folder)
        raise OutletError(
            f"{folder}: removal plan {plan.id} of {plan.dish} cannot be written "
            f"({problem.strerror or problem}); make room or give the folder to this user; "
            "it is tried again"
        ) from problem
    return list(paths.values())


def withdraw_plan(plan: RemovalPlan, folder: Path) -> list[Path]:
    """Take a plan's files out of the picker's folder; returns those that were there.

    Raises OutletError where a file stays behind.
    """
    gone: list[Path] = []
    stayed: list[str] = []
    for suffix in reversed(_SUFFIXES):
        path = folder / (file_stem(plan) + suffix)
        try:
            path.unlink()
            gone.append(path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as problem:
            stayed.append(f"{path} ({problem.strerror or problem})")
    if stayed:
        raise OutletError(
            f"removal plan {plan.id} of {plan.dish} cannot be withdrawn: {', '.join(stayed)}; "
            "keep the picker from using it and remove it by hand"
        )
    return gone


def file_stem(plan: RemovalPlan) -> str:
    """``<dish>_<plan id>`` in letters, digits, dot and dash: safe on every file system.

    Two dishes can look the same in these; the plan's id keeps their files apart.
    """
    return f"{_safe(plan.dish, 80) or 'dish'}_{_safe(plan.id, 80) or 'plan'}"


def _safe(text: str, longest: int) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._-")[:longest]


def _refuse_unfit(plan: RemovalPlan, now: datetime) -> None:
    name = f"removal plan {plan.id} of {plan.dish}"
    if plan.status not in _FIT_FOR_THE_PICKER:
        raise OutletError(
            f"{name} is {plan.status}, and only an approved plan goes to the picker; approve it "
            "first",
            permanent=True,
        )
    if now >= plan.expires_at:
        raise OutletError(
            f"{name} expired at {plan.expires_at:%Y-%m-%d %H:%M} UTC, and cells move; the next "
            "scan makes a new one",
            permanent=True,
        )
    if not plan.targets:
        raise OutletError(f"{name} has no target; there is nothing to remove", permanent=True)
