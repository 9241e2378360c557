from dataclasses import asdict, replace

from monitor.culture import DishStatus, RefusedRegion, ScanDecision, Targeting, ToolKind
from monitor.record.plan_documents import detail_of, plan_of
from monitor.record.tables import DishRow, RemovalPlanRow
from tests.monitor.facts import DISH, HIT, TARGET, measure, place, read, removal_plan

TARGETING = Targeting("tip-100", ToolKind.TIP, 100.0, 120.0, 10.0, 20.0, 30.0)
FULL = removal_plan(
    targeting=TARGETING,
    targets=(
        replace(
            TARGET,
            hits=(HIT, replace(HIT, order=2, well_x_um=1.0, well_y_um=-2.0)),
            uncertainty=0.2,
            removable_um2=9_000.0,
            covered_um2=8_500.0,
            whole_colony=True,
        ),
    ),
    refused=(RefusedRegion("a-2", "a" * 64, "too thin", "is too thin", TARGET.polygon_px, 3.0),),
)


def test_a_plan_comes_back_as_it_went_in(store):
    scan = measure(store, "/1", place())
    read(store, scan, ScanDecision(DishStatus.DIFFERENTIATING, plan=FULL))
    assert replace(store.plans.plan(FULL.id), reading_id=1) == FULL


def test_a_plan_of_an_earlier_version_is_read_with_one_hit_a_region():
    """It aimed at the middle of the largest circle inside, and knew no tool."""
    target = asdict(TARGET)
    (hit,) = target.pop("hits")
    for new in ("uncertainty", "removable_um2", "covered_um2", "whole_colony"):
        del target[new]
    del hit["clearance_um"]
    detail = detail_of(removal_plan())
    for new in ("aiming", "refused"):
        del detail[new]
    detail["targets"] = [{**target, **hit, "acquired_at": TARGET.acquired_at.isoformat()}]
    row = RemovalPlanRow(
        **{
            name: getattr(FULL, name)
            for name in ("id", "reading_id", "status", "created_at", "expires_at")
        },
        approved_by=None,
        approved_at=None,
        detail=detail,
    )
    found = plan_of(row, DishRow(name=DISH, label=DISH, source="incubator"))
    assert found.targets == (TARGET,)
    assert (found.targeting, found.refused) == (None, ())
