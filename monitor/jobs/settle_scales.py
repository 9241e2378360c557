"""What images say of their own scale -> one scale a source, and what rests on a former one again.

While a scale is open, each image that is asked may move it; what was measured at the former size is
then measured once more. Once enough images of enough dishes agree it stays, until a person says
otherwise (`colonywatch scale`). Later images that clearly contradict it change nothing by
themselves: people are alerted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from monitor.culture import AssumedScale, FieldMeasurement, ScaleEvidence, ScaleState
from monitor.culture.scales import DISHES, OF_A_SCALE
from monitor.record.store import Store

if TYPE_CHECKING:
    from model.scale import ScaleEstimate

log = logging.getLogger(__name__)

ENOUGH_CHECKS = 5
CONTRADICTS = 1.5
"""Later images that agree among themselves and are off by this factor contradict a scale."""


def settle_scales(
    store: Store,
    measured: Iterable[tuple[int, str, FieldMeasurement]],
    now: datetime,
    *,
    reopens: bool,
) -> list[int]:
    """Have what was measured just now count for the scales of its sources.

    measured : number, source and measurement of captures
    reopens : what rests on a former scale waits to be measured again; else it is left as it is
    Returns the captures that wait for that.
    """
    concerned = [one for one in measured if one[2].at_scale is not None]
    reopened: list[int] = []
    asked = {source for _, source, one in concerned if one.at_scale and one.at_scale.evidence}
    for source in sorted(asked):
        for scale in store.scales.all(source):
            if scale.state is ScaleState.OPEN:
                reopened += _estimate(store, scale, now, reopens=reopens)
            elif scale.state is ScaleState.SETTLED:
                _check(store, scale)
    if concerned and reopens:
        # Those that were in hand while it changed.
        reopened += store.scales.reopen([number for number, _, _ in concerned], now)
    return reopened


def _estimate(store: Store, scale: AssumedScale, now: datetime, *, reopens: bool) -> list[int]:
    from model.scale import kept_or_new

    evidence = store.scales.evidence(scale.id)
    if not evidence:
        return []
    found = _pooled(evidence)
    um = kept_or_new(scale.um, found)
    settled = found.images >= OF_A_SCALE or (found.is_steady and scale.dishes >= DISHES)
    between_um = found.low_um, found.high_um
    change = store.scales.estimate(
        scale.id, um, between_um=between_um, settled=settled, now=now, reopens=reopens
    )
    if change is None:
        return []
    log.warning(
        "source=%s images=%s um_per_pixel=%g was=%g: %s; measured again: %d captures",
        scale.source,
        scale.setup,
        change.scale.um,
        change.before_um,
        change.scale.grounds,
        len(change.reopened),
    )
    return list(change.reopened)


def _check(store: Store, scale: AssumedScale) -> None:
    evidence = store.scales.evidence(scale.id, checks=True)
    looks_like = None
    if len(evidence) >= ENOUGH_CHECKS:
        found = _pooled(evidence)
        factor = max(found.um / scale.um, scale.um / found.um)
        looks_like = found.um if found.is_steady and factor >= CONTRADICTS else None
    if looks_like != scale.looks_like_um:
        store.scales.checked(scale.id, looks_like)


def _pooled(evidence: Sequence[ScaleEvidence]) -> ScaleEstimate:
    from model import scale

    return scale.estimate_scale(
        [scale.ScaleEvidence(one.doubts, one.side_px, one.grain_px) for one in evidence]
    )
