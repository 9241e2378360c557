"""Regions as GeoJSON for QuPath: one file a capture, in its pixels.

x is the column and y the row, counted from the top left corner of the picture, so that pixel
centres stand at a half. Rings are closed; those after the first are holes.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from monitor.culture import Hit, Target
from monitor.outlets.picking.handout import Contents, Handout, capture_part, to_corner
from monitor.outlets.rings import turned

_NAMESPACE = uuid.UUID("7b0e4bb4-4c4c-4f0e-9d8e-6f0b6a3c5a11")


def qupath_geojson(handout: Handout) -> Contents:
    """An annotation a target for its region, and one a hit for the point to aim at."""
    return {
        capture_part(sha256): (
            json.dumps(
                {
                    "type": "FeatureCollection",
                    "features": [
                        feature
                        for target in targets
                        for feature in (
                            _region(handout, target),
                            *(_point(handout, target, hit) for hit in target.hits),
                        )
                    ],
                },
                ensure_ascii=False,
                allow_nan=False,
            )
            + "\n"
        ).encode()
        for sha256, targets in handout.by_capture().items()
    }


def _region(handout: Handout, target: Target) -> dict[str, Any]:
    rings = [
        [_xy(point) for point in (*ring, ring[0])]
        for ring in turned(target.polygon_px, target.holes_px)
    ]
    return _feature(
        handout,
        target,
        f"{handout.label(target)} region",
        f"{target.region_id}/region",
        {"type": "Polygon", "coordinates": rings},
        {"Hits": len(target.hits)},
    )


def _point(handout: Handout, target: Target, hit: Hit) -> dict[str, Any]:
    return _feature(
        handout,
        target,
        f"{handout.label(target, hit)} pick",
        f"{target.region_id}/pick/{hit.order}",
        {"type": "Point", "coordinates": _xy(hit.pick_px)},
        {"Stage x um": round(hit.pick_x_um, 3), "Stage y um": round(hit.pick_y_um, 3)},
    )


def _feature(
    handout: Handout,
    target: Target,
    name: str,
    what: str,
    geometry: dict[str, Any],
    measures: dict[str, float],
) -> dict[str, Any]:
    plan = handout.plan
    return {
        "type": "Feature",
        # QuPath takes only UUIDs; the same region of the same plan always has the same one.
        "id": str(uuid.uuid5(_NAMESPACE, f"{plan.id}/{what}")),
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "name": name,
            "classification": {"name": "Differentiated", "color": [213, 94, 0]},
            "isLocked": True,
            "measurements": {
                "Area um^2": round(target.area_um2, 1),
                "Mean probability": round(target.mean_probability, 4),
                **measures,
            },
            "metadata": {
                "plan": plan.id,
                "dish": plan.dish,
                "capture_sha256": target.capture_sha256,
                "model_sha256": plan.model_sha256,
            },
        },
    }


def _xy(point: tuple[float, float]) -> list[float]:
    return [round(one, 2) for one in to_corner(point)]
