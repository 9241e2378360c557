"""The newest hash of the audit trail, kept beside the record: so it is seen when its end goes."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

from monitor.culture import Head
from monitor.errors import OutletError
from monitor.host.atomic_files import write_whole
from monitor.record.store import Store

log = logging.getLogger(__name__)

NAME = "audit-head.json"


def kept_head(folder: Path) -> Head | None:
    """What was kept last; None where nothing was yet.

    Raises OutletError where the file is there and cannot be read.
    """
    path = folder / NAME
    try:
        document = json.loads(path.read_text(encoding="ascii"))
        return Head(int(document["number"]), str(document["hash"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise OutletError(
            f"{path}: the kept head of the audit trail cannot be read ({problem}); find out what "
            "became of it (colonywatch audit verify --kept EXPORT), then remove the file",
            permanent=True,
        ) from problem


def keep_head(folder: Path, head: Head, now: datetime) -> None:
    """Raises OutletError where it cannot be written."""
    document = {
        "number": head.number,
        "hash": head.hash,
        "kept_at": now.astimezone(UTC).isoformat(timespec="seconds"),
    }
    try:
        write_whole(folder / NAME, (json.dumps(document, indent=2) + "\n").encode())
    except OSError as problem:
        raise OutletError(
            f"{folder / NAME}: cannot be written ({problem.strerror}); make room there, or make it "
            "writable for this account"
        ) from problem


def follow_trail(store: Store, folder: Path, now: datetime) -> bool:
    """Keep the newest head, unless the one that was kept is not in the trail any more.

    Returns whether it was. A single row is looked at: `audit verify` looks at all.
    """
    kept, newest = kept_head(folder), store.audit.head()
    if kept is not None and not store.audit.has(kept):
        log.error(
            "the audit trail does not hold entry %d any more as it was when it was last looked at: "
            "see colonywatch audit verify",
            kept.number,
        )
        return False
    if newest is not None and newest != kept:
        keep_head(folder, newest, now)
    return True
