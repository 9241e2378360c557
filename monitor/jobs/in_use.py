"""Which model and which settings a daemon works with: told to the audit trail when they changed."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from monitor.config import Config
from monitor.culture import AuditEntry
from monitor.record.store import Store

SETTINGS_FIRST, SETTINGS_CHANGED = "settings in use", "settings changed"
MODEL_FIRST, MODEL_CHANGED = "model in use", "model changed"
_PASSWORD = re.compile(r"(://[^:/@]*):[^@]*@")
_WHY = "seen when the daemon started"


def tell_in_use(store: Store, config: Config, model: tuple[str, str, str], now: datetime) -> None:
    """One entry where the settings, and one where the model, are not those of the last time.

    model : name, hash, and what runs it
    Of settings only those that differ are told, by their keys as config.yaml has them; the first
    time all of them. A daemon is known by its machine and its state folder.
    """
    about = f"daemon of {socket.gethostname()}, {config.record.folder}"
    # Numbers and lists as they come back from the trail.
    present = json.loads(json.dumps(flat_settings(config)))
    with store.looking():
        told = list(store.audit.entries(about=about))
    former = last_settings(told)
    if former is None:
        _tell(store, now, SETTINGS_FIRST, about, None, present)
    elif former != present:
        keys = [key for key in {**former, **present} if former.get(key) != present.get(key)
                or (key in former) != (key in present)]  # fmt: skip
        _tell(
            store, now, SETTINGS_CHANGED, about,
            {key: former[key] for key in keys if key in former},
            {key: present[key] for key in keys if key in present},
        )  # fmt: skip
    named = dict(zip(("name", "sha256", "runner"), model, strict=True))
    before = next(
        (json.loads(one.after or "null") for one in reversed(told)
         if one.what in (MODEL_FIRST, MODEL_CHANGED)),
        None,
    )  # fmt: skip
    if before != named:
        what = MODEL_FIRST if before is None else MODEL_CHANGED
        _tell(store, now, what, about, before, named)


def _tell(store: Store, now: datetime, what: str, about: str, before: Any, after: Any) -> None:
    store.audit.tell(
        now=now, who="colonywatch", what=what, about=about, why=_WHY, before=before, after=after
    )


def flat_settings(config: Config) -> dict[str, Any]:
    """All settings, defaults too, by their keys joined with points; passwords are left out."""
    return dict(_flat("", config.model_dump(mode="json")))


def _flat(key: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for number, inner in enumerate(value):
            yield from _flat(f"{key}[{number}]", inner)
    else:
        yield key, _PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value


def last_settings(told: Iterable[AuditEntry]) -> dict[str, Any] | None:
    """What the trail says the settings are, of entries about one daemon; None = it does not."""
    found: dict[str, Any] | None = None
    for one in told:
        if one.what not in (SETTINGS_FIRST, SETTINGS_CHANGED):
            continue
        former = json.loads(one.before or "{}")
        left = {key: value for key, value in (found or {}).items() if key not in former}
        found = {**left, **json.loads(one.after or "{}")}
    return found
