"""Removal plans as files in the folder that the picking hardware polls. A writer a format.

Each plan is a set of files of one stem. Each file appears whole or not at all, and a set is
complete when its ``.sha256`` is there: it is written last and withdrawn first, and names every
file of the set with its hash (``sha256sum --check`` reads it). A picker waits for ``*.sha256``. One
that can only poll for ``*.csv`` is served too: of the lists, ``.csv`` is the last before the
checksums, and whole in itself like every other.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from monitor.config import ExportFormat
from monitor.culture import PlanStatus, RemovalPlan
from monitor.errors import OutletError
from monitor.host.atomic_files import (
    HIDDEN_SUFFIX,
    hidden_prefix,
    hide_whole,
    sync_folder,
    write_whole,
)
from monitor.outlets.picking.csv_list import plan_as_csv
from monitor.outlets.picking.formats import FORMATS, write_formats, write_what_can_be
from monitor.outlets.picking.handout import Handout, PlanImage
from monitor.outlets.picking.json_plan import plan_as_json

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Handout",
    "PlanImage",
    "StagedPlan",
    "file_stem",
    "plan_as_csv",
    "plan_as_json",
    "stage_plan",
    "staged_before",
    "withdraw_plan",
    "write_formats",
    "write_late",
]

DEFAULT_FORMATS: tuple[ExportFormat, ...] = ("csv", "json")
CHECKSUMS = ".sha256"
_FIT_FOR_THE_PICKER = (PlanStatus.APPROVED, PlanStatus.EXPORTED)


@dataclass(frozen=True)
class StagedPlan:
    """A plan whose files are on the disk under hidden names; only to be renamed.

    token : of the hand-over; part of the hidden names, so that it can be told later what is hidden
    files : (hidden name, name), in the order in which to show them
    unwritten : why a format is not among them, by its name
    """

    plan: RemovalPlan
    folder: Path
    token: str
    files: tuple[tuple[Path, Path], ...]
    unwritten: Mapping[str, str] = field(default_factory=dict)

    def publish(self) -> list[Path]:
        """Show what is hidden, the checksums last. Returns the files of the plan in that order.

        A file is shown by renaming it, which can be done once only: called again after a crash,
        this shows what is hidden still, and nothing that a picker may have taken meanwhile.

        Raises OutletError, and then nothing of the plan is to be seen; it may be called again.
        """
        shown: list[tuple[Path, Path]] = []
        try:
            for hidden, path in self.files:
                with suppress(FileNotFoundError):
                    hidden.rename(path)
                    shown.append((hidden, path))
            if not self.folder.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            sync_folder(self.folder)
            # What others, who were killed or came too late, have made for the same plan.
            _sweep_hidden(self.plan, self.folder)
        except OSError as problem:
            for hidden, path in reversed(shown):
                with suppress(OSError):
                    path.rename(hidden)
            raise _unwritten(self.plan, self.folder, problem) from problem
        return [path for _, path in self.files]

    def discard(self) -> None:
        """Give the plan up: the hidden files go."""
        for hidden, _ in self.files:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)


def stage_plan(
    handout: Handout,
    folder: Path,
    *,
    now: datetime,
    token: str,
    formats: Sequence[ExportFormat] = DEFAULT_FORMATS,
) -> StagedPlan:
    """All the slow work: the files of a plan, on the disk in the folder, under hidden names.

    A format that cannot say what the plan says is left out, and named in `unwritten`.

    Raises OutletError; permanent where the plan may not be carried out (not approved, expired, no
    target) or no format is left; else the folder could not be written, and nothing is left there.
    """
    plan = handout.plan
    _refuse_unfit(plan, now)
    stem = file_stem(plan)
    written = write_what_can_be(handout, formats)
    contents = written.contents
    if not contents:
        raise OutletError("; ".join(written.unwritten.values()), permanent=True)
    contents[CHECKSUMS] = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {stem}{ending}\n"
        for ending, content in contents.items()
    ).encode()
    paths = [folder / (stem + ending) for ending in contents]
    files = tuple((_hidden(path, token), path) for path in paths)
    staged = StagedPlan(plan, folder, token, files, written.unwritten)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (hidden, _), content in zip(staged.files, contents.values(), strict=True):
            hide_whole(hidden, content)
        # From here on a hidden name that is gone means that its file was shown.
        sync_folder(folder)
    except OSError as problem:
        staged.discard()
        raise _unwritten(plan, folder, problem) from problem
    return staged


def staged_before(plan: RemovalPlan, folder: Path, token: str) -> StagedPlan:
    """What `stage_plan` made under a token, perhaps in another process, shown already or not."""
    paths = [*reversed(_files_of(plan, folder))]
    return StagedPlan(plan, folder, token, tuple((_hidden(path, token), path) for path in paths))


def write_late(handout: Handout, folder: Path, formats: Sequence[ExportFormat]) -> dict[str, str]:
    """Formats that could not be written when the plan was shown, as far as they can be now.

    Each file appears whole. The checksums stay as they are: a picker that took the plan by them is
    not shown it a second time. Returns why a format cannot be written still, by its name.
    """
    written = write_what_can_be(handout, formats)
    try:
        for ending, content in written.contents.items():
            write_whole(folder / (file_stem(handout.plan) + ending), content)
    except OSError as problem:
        raise _unwritten(handout.plan, folder, problem) from problem
    return written.unwritten


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


def _hidden(path: Path, token: str) -> Path:
    return path.with_name(f"{hidden_prefix(path)}{token}{HIDDEN_SUFFIX}")


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
