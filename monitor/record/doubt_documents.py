"""How far a reading may be trusted, as it stands in its row: a JSON document, or nothing where the
model says nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.culture import NOTHING_SAID, Doubt, DoubtReason


def doubt_document(doubt: Doubt) -> dict[str, Any] | None:
    if doubt == NOTHING_SAID:
        return None
    return {
        "reasons": [reason.value for reason in doubt.reasons],
        "interval": None if doubt.interval is None else list(doubt.interval),
        "kind": doubt.kind,
        "calibrated": doubt.calibrated,
    }


def doubt_of(document: Mapping[str, Any] | None) -> Doubt:
    if document is None:
        return NOTHING_SAID
    interval = document["interval"]
    return Doubt(
        reasons=tuple(DoubtReason(reason) for reason in document["reasons"]),
        interval=None if interval is None else (interval[0], interval[1]),
        kind=document["kind"],
        calibrated=document["calibrated"],
    )
