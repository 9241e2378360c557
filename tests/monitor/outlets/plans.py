"""A removal plan with plain values, for the tests of the outlets."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from monitor.culture import Hit, PlanStatus, RemovalPlan, Target, Targeting, ToolKind

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)

HIT = Hit(
    order=1,
    pick_px=(150.0, 300.0),
    pick_x_um=5200.0,
    pick_y_um=-1100.5,
    pick_z_um=250.0,
    clearance_um=60.0,
)

TARGETING = Targeting(
    tool="tip-100",
    kind=ToolKind.TIP,
    removes_um=100.0,
    touches_um=120.0,
    positional_error_um=10.0,
    border_um=20.0,
    safe_distance_um=30.0,
)

TARGET = Target(
    region_id="aaaaaaaaaaaa-1",
    capture_sha256="a" * 64,
    acquired_at=NOW - timedelta(minutes=10),
    area_um2=14_400.0,
    mean_probability=0.9,
    inscribed_radius_um=60.0,
    centroid_px=(151.25, 300.5),
    polygon_px=((120.0, 270.0), (120.0, 330.0), (180.0, 330.0), (180.0, 270.0)),
    hits=(HIT,),
)


def aimed(target: Target, **changes) -> Target:
    """The same target with one hit, and `changes` to that."""
    return replace(target, hits=(replace(target.hits[0], **changes),))


PLAN = RemovalPlan(
    id="20261103T093000-17",
    dish="3500003816/A1",
    reading_id=17,
    status=PlanStatus.APPROVED,
    created_at=NOW - timedelta(minutes=5),
    expires_at=NOW + timedelta(hours=12),
    model_sha256="d" * 64,
    settings_sha256="5" * 64,
    calibration_id="scope-1",
    targets=(
        aimed(
            replace(TARGET, region_id="aaaaaaaaaaaa-2", area_um2=20_000.0),
            order=2,
            pick_z_um=None,
        ),
        TARGET,
    ),
    left_out=("3 regions are too small (below 10000 µm²).",),
    approved_by="A. Person, lab 3",
    approved_at=NOW - timedelta(minutes=1),
)
