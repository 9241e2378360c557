"""Removal plans as files in the folder that the picking hardware polls. A writer a format.

Each plan is a set of files of one stem. Each file appears whole or not at all, and a set is
complete when its ``.sha256`` is there: it is written last and withdrawn first, and names every
file of the set with its hash (``sha256sum --check`` reads it). A picker waits for ``*.sha256``. One
that can only poll for ``*.csv`` is served too: of the lists, ``.csv`` is the last before the
checksums, and whole in itself like every other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monitor.config import ExportFormat
from monitor.culture import PlanStatus, RemovalPlan
from monitor.errors import OutletError
from monitor.outlets.picking.csv_list import plan_as_csv
from monitor.outlets.picking.formats import FORMATS, write_formats
from monitor.outlets.picking.handout import Handout, Picture
from monitor.outlets.picking.json_plan import plan_as_json
from monitor.whole_files import HIDDEN_SUFFIX, hidden_prefix, stage_whole, sync_folder

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Handout",
    "Picture",
    "StagedPlan",
    "file_stem",
    "plan_as_csv",
    "plan_as_json",
    "stage_plan",
    "withdraw_plan",
    "write_formats",
    "write_plan",
]

DEFAULT_FORMATS: tuple[ExportFormat, ...] = ("csv", "json")
CHECKSUMS = ".sha256"
_FIT_FOR_THE_PICKER = (PlanStatus.APPROVED, PlanStatus.EXPORTED)


@dataclass(frozen=True)
class StagedPlan:
    """A plan whose files are on the disk under hidden names; only to be renamed.

    files : (hidden name, name), in the order in which to show them
    """

    plan: RemovalPlan
    folder: Path
    files: tuple[tuple[Path, Path], ...]

    def publish(self) -> list[Path]:
        """Show the files, the checksums last. Returns them in that order.

        Raises OutletError, and then nothing of the plan is left in the folder.
        """
        try:
            # Old checksums must not stand beside new files.
            self.files[-1][1].unlink(missing_ok=True)
            for hidden, path in self.files:
                hidden.replace(path)
            sync_folder(self.folder)
        except OSError as problem:
            self.discard()
            with suppress(OutletError):
                withdraw_plan(self.plan, self.folder)
            raise _unwritten(self.plan, self.folder, problem) from problem
        return [path for _, path in self.files]

    def discard(self) -> None:
        """Give the plan up: the hidden files go."""
        for hidden, _ in self.files:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)


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
    handout = Handout(plan, calibration_rms_um=calibration_rms_um)
    return stage_plan(handout, folder, now=now).publish()


def stage_plan(
    handout: Handout,
    folder: Path,
    *,
    now: datetime,
    formats: Sequence[ExportFormat] = DEFAULT_FORMATS,
) -> StagedPlan:
    """All the slow work: the files of a plan, on the disk in the folder, under hidden names.

    Raises OutletError; permanent where the plan may not be carried out (not approved, expired, no
    target) or a format cannot say what it says; else the folder could not be written, and nothing
    is left there.
    """
    plan = handout.plan
    _refuse_unfit(plan, now)
    stem = file_stem(plan)
    contents = write_formats(handout, formats)
    contents[CHECKSUMS] = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {stem}{ending}\n"
        for ending, content in contents.items()
    ).encode()
    staged: list[tuple[Path, Path]] = []
    try:
        _sweep_hidden(plan, folder)
        for ending, content in contents.items():
            path = folder / (stem + ending)
            staged.append((stage_whole(path, content), path))
    except OSError as problem:
        StagedPlan(plan, folder, tuple(staged)).discard()
        with suppress(OutletError):
            withdraw_plan(plan, folder)
        raise _unwritten(plan, folder, problem) from problem
    return StagedPlan(plan, folder, tuple(staged))


def withdraw_plan(plan: RemovalPlan, folder: Path) -> list[Path]:
    """Take a plan's files out of the picker's folder; returns those that were there.

    Of every format, whichever are configured now, and what a crash left under hidden names.
    Raises OutletError where a file stays behind.
    """
    gone: list[Path] = []
    stayed: list[str] = []
    with suppress(OSError):
        _sweep_hidden(plan, folder)
    for path in _files_of(plan, folder):
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


def _files_of(plan: RemovalPlan, folder: Path) -> list[Path]:
    """Every name that a file of the plan can have, the checksums first. Works in folders that
    cannot be listed.
    """
    parts = ["", *sorted({f".{target.capture_sha256[:12]}" for target in plan.targets})]
    endings = [part + known.suffix for known in reversed(FORMATS.values()) for part in parts]
    return [folder / (file_stem(plan) + ending) for ending in (CHECKSUMS, *endings)]


def _sweep_hidden(plan: RemovalPlan, folder: Path) -> None:
    """Remove what a program that was killed left under hidden names."""
    prefixes = tuple(hidden_prefix(path) for path in _files_of(plan, folder))
    try:
        left = [path for path in folder.iterdir() if path.name.startswith(prefixes)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for path in left:
        if path.name.endswith(HIDDEN_SUFFIX):
            with suppress(OSError):
                path.unlink()


def _safe(text: str, longest: int) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._-")[:longest]


def _unwritten(plan: RemovalPlan, folder: Path, problem: OSError) -> OutletError:
    return OutletError(
        f"{folder}: removal plan {plan.id} of {plan.dish} cannot be written "
        f"({problem.strerror or problem}); make room or give the folder to this user; "
        "it is tried again"
    )


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
