"""What the starter learns from real fields: sure labels, and of the rest only what is sure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from model.classes import NOT_DIFFERENTIATED, UNKNOWN
from model.starter.held_out import HELD_OUT, SPREAD, group_of
from model.starter.real_fields import as_regions, real_groups, sure_of
from model.starter.settings import FIRST, STAGES

DATA = Path(os.environ.get("COLONYWATCH_DATA", Path(__file__).parents[4] / "shared" / "data"))


def draft(side: int = 300) -> np.ndarray:
    """Cells on the right half with a hole of 40 px, a bar in the corner; 1 um/px."""
    labels = np.zeros((side, side), np.uint8)
    labels[:, side // 2 :] = 1
    labels[100:140, 200:240] = 0
    labels[-60:, -80:] = UNKNOWN
    return labels


def test_well_inside_a_draft_is_believed_and_along_its_borders_nothing_is_differentiated() -> None:
    labels = sure_of(draft(), 1.0, grown=False)
    assert (labels[:, :140] == 0).all()
    assert (labels[:90, 150:] == 1).all()
    assert (labels[:, 148] == NOT_DIFFERENTIATED).all()
    assert labels[120, 220] == 0
    assert (labels[-60:, -80:] == UNKNOWN).all()
    assert set(np.unique(labels)) == {0, 1, NOT_DIFFERENTIATED, UNKNOWN}


def test_small_holes_of_grown_colonies_may_be_cells_that_the_draft_missed() -> None:
    labels = sure_of(draft(), 1.0, grown=True)
    assert (labels[100:140, 200:240] == NOT_DIFFERENTIATED).all()
    assert labels[120, 220] == NOT_DIFFERENTIATED
    assert (sure_of(draft(), 6.0, grown=True)[115:125, 215:225] == 0).all()


def test_bright_middles_of_cells_are_no_holes_in_them() -> None:
    drawn = draft()
    drawn[50:60, 250:260] = 0
    assert (sure_of(drawn, 1.0, grown=False)[50:60, 250:260] == 1).all()
    assert sure_of(drawn, 3.0, grown=False)[55, 255] == 0


def test_what_is_unsure_in_a_draft_is_still_not_differentiated() -> None:
    unsure = draft()
    unsure[10:60, 10:60] = UNKNOWN
    labels = sure_of(unsure, 1.0, grown=False)
    assert (labels[10:60, 10:60] == NOT_DIFFERENTIATED).all()


@pytest.mark.parametrize("value", [0, 1])
def test_a_draft_of_one_value_is_believed_to_the_edge(value: int) -> None:
    labels = sure_of(np.full((80, 90), value, np.uint8), 2.0, grown=False)
    assert (labels == value).all()


def test_gaps_between_neighbours_are_theirs_and_a_strip_along_a_cell_is_nobodys() -> None:
    cells = np.zeros((200, 200), bool)
    cells[80:120, 60:99] = True
    cells[80:120, 101:140] = True
    labels = as_regions(cells, 1.0)
    assert (labels[90:110, 60:140] == 2).all()
    assert labels[100, 141] == UNKNOWN
    assert labels[100, 145] == 0
    assert (labels[cells] == 2).all()


def test_the_width_of_gaps_is_in_um_and_not_in_pixels() -> None:
    cells = np.zeros((400, 400), bool)
    cells[100:300, 100:199] = True
    cells[100:300, 201:300] = True
    assert as_regions(cells, 1.0)[200, 200] == 2
    assert as_regions(cells, 4.0)[200, 200] == 0


def test_shares_leave_the_largest_part_of_the_crops_to_simulated_fields() -> None:
    for stage in STAGES:
        assert 1 - sum(stage.shares.values()) > 2 * max(stage.shares.values())


def test_whole_groups_are_held_out_and_healthy_fields_teach_that_nothing_is_differentiated() -> (
    None
):
    """In one piece, since reading the real fields takes a while."""
    if not (DATA / "passage").is_dir():
        pytest.skip(f"no real fields in {DATA}; set COLONYWATCH_DATA")
    groups, held = real_groups(DATA, FIRST.shares)
    assert {group.name for group in groups} == set(HELD_OUT)
    for group in groups:
        learnt = {group_of(group.name, one.name) for one in group.fields}
        measured = {group_of(group.name, one.name) for one in held[group.name]}
        assert measured == HELD_OUT[group.name]
        assert not learnt & measured
        values = {int(v) for one in group.fields for v in np.unique(one.labels)}
        if group.name == SPREAD:
            assert values == {0, 2, UNKNOWN}
        else:
            assert {0, 1, NOT_DIFFERENTIATED} <= values <= {0, 1, NOT_DIFFERENTIATED, UNKNOWN}
