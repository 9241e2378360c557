from __future__ import annotations

import pytest

from monitor.decisions.switching_off import without_regions
from monitor.errors import UsageError
from tests.monitor.facts import removal_plan, target_at


def test_the_others_keep_their_order_numbered_anew():
    plan = removal_plan(targets=tuple(target_at(number) for number in (3, 1, 2, 4)))
    left = without_regions(plan, {"r1", "r4"}, who="Ada")
    assert [(one.region_id, one.order) for one in left.targets] == [("r3", 2), ("r2", 1)]
    assert [one.text for one in left.refused] == ["switched off by Ada"] * 2
    assert left.left_out[-1] == "2 regions are switched off by Ada."
    assert left.covered_um2 is None  # it was not known before


def test_what_cannot_be_switched_off_is_said():
    plan = removal_plan(targets=(target_at(1),))
    assert without_regions(plan, (), who="Ada") is plan
    with pytest.raises(UsageError, match="no region r9"):
        without_regions(plan, {"r9"}, who="Ada")
    with pytest.raises(UsageError, match="reject the plan instead"):
        without_regions(plan, {"r1"}, who="Ada")
