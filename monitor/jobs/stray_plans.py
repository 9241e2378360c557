"""Plans in the picker's folder that the record does not stand by: withdrawn, kept aside, and said.

Such a plan comes from a record that was deleted or restored from an older backup. Nobody could say
any more whether it was carried out, and its regions would be planned once more. The folder belongs
to one record: what lies there and is unknown to it is not waited for by anybody.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monitor.config import Config
from monitor.culture import LIVE_PLANS, PlanStatus
from monitor.errors import OutletError, UsageError
from monitor.outlets.picking import CHECKSUMS, FORMATS
from monitor.record.store import Store

log = logging.getLogger(__name__)

_ENDINGS = "|".join(re.escape(one.suffix) for one in FORMATS.values())
# <dish>_<plan id>, perhaps the capture, and how a format's files end.
_PLAN_FILE = re.compile(
    rf".+_(?P<id>\d{{8}}-[0-9a-f]{{8,}})(?:\.[0-9a-f]{{12}})?(?:{re.escape(CHECKSUMS)}|{_ENDINGS})"
)


@dataclass(frozen=True)
class Stray:
    """why : what the record says of it; kept_in : where its files are now"""

    plan_id: str
    why: str
    files: tuple[str, ...]
    kept_in: Path

    def __str__(self) -> str:
        return (
            f"removal plan {self.plan_id}: withdrawn from the picker's folder, since {self.why}; "
            f"its files are kept in {self.kept_in}"
        )


def plans_in(folder: Path) -> dict[str, list[Path]]:
    """The files in the picker's folder by the plans that they are of, the checksums first.

    Raises OutletError where the folder cannot be searched.
    """
    found: dict[str, list[Path]] = {}
    try:
        names = sorted(folder.iterdir(), key=lambda path: (path.suffix != CHECKSUMS, path.name))
    except FileNotFoundError:
        return found
    except OSError as problem:
        raise OutletError(
            f"{folder}: cannot be searched ({problem.strerror}); plans that no "
            f"record knows may be there"
        ) from problem
    for path in names:
        known = None if path.name.startswith(".") else _PLAN_FILE.fullmatch(path.name)
        if known is not None:
            found.setdefault(known["id"], []).append(path)
    return found


def withdraw_strays(store: Store, config: Config, now: datetime) -> list[Stray]:
    """Take out of the picker's folder what the record does not know as handed out.

    Raises OutletError where the folder cannot be searched or a file stays there.
    """
    found = []
    for plan_id, files in plans_in(config.removal_folder).items():
        why = _why_stray(store, plan_id, now)
        if why is not None:
            aside = config.record.folder / "withdrawn" / plan_id
            _move_aside(files, aside)
            log.warning("plan=%s: withdrawn from the picker's folder: %s", plan_id, why)
            found.append(Stray(plan_id, why, tuple(path.name for path in files), aside))
    return found


def _why_stray(store: Store, plan_id: str, now: datetime) -> str | None:
    try:
        plan = store.plans.plan(plan_id)
    except UsageError:
        return "the record knows no such plan"
    if plan.status is PlanStatus.EXPORTED:
        return None
    if plan.status in LIVE_PLANS:
        # It was handed out, and the record, made anew from a backup, does not know it any more.
        why = "its files were in the picker's folder, and it was not on record as handed out"
        store.plans.supersede(plan_id, why=why, now=now)
        return why
    return f"it is {plan.status}"


def _move_aside(files: Iterable[Path], aside: Path) -> None:
    stayed = []
    for path in files:
        try:
            # A picker must not have it, even where it cannot be kept.
            try:
                aside.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, aside / path.name)
            except OSError as problem:
                log.error("%s: cannot be kept aside (%s)", path.name, problem.strerror)
            path.unlink(missing_ok=True)
        except OSError as problem:
            stayed.append(f"{path} ({problem.strerror or problem})")
    if stayed:
        raise OutletError(
            f"plans that no record knows cannot be withdrawn: {', '.join(stayed)}; keep the "
            "picker from using them and remove them by hand"
        )
