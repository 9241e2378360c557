"""What simulated dishes hold: dead cells, fresh passages, islands of loosening."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.simulation.cells import draw_culture, grown
from model.simulation.debris import Debris, after_passage, calm_debris, debris_over, draw_debris
from model.simulation.drawing import Layout, Seeding, Tissue
from model.simulation.fields import simulate_field
from model.simulation.layout import draw_layout
from model.simulation.optics import draw_optics, photograph

PX_UM = 2.0
SHAPE = (240, 240)
AREA_MM2 = SHAPE[0] * SHAPE[1] * (PX_UM * 1e-3) ** 2
NOTHING = np.zeros(SHAPE, bool)
NO_SPREAD = np.zeros(SHAPE, np.float32)


def debris(**changes: float) -> Debris:
    none = replace(
        calm_debris(np.random.default_rng(0)), dead_per_mm2=0.0, heaped=0.0, pigmented=0.0
    )
    return replace(none, **changes)


def bare_tissue(value: int = 0, seeding: Seeding | None = None) -> Tissue:
    labels = np.full(SHAPE, value, np.uint8)
    return Tissue(np.zeros(SHAPE, np.float32), labels, None, seeding)


def spots(signal: np.ndarray) -> int:
    """Bright round things in a signal."""
    found, _ = cv2.connectedComponents((signal > 1.0).astype(np.uint8))
    return found - 1


def test_dead_cells_are_as_many_as_was_asked() -> None:
    few, many = (
        debris_over(
            np.random.default_rng(4), bare_tissue(), debris(dead_per_mm2=n), PX_UM, bright=True
        )[0]
        for n in (60.0, 600.0)
    )
    # Those that touch are counted as one.
    assert 0.4 * 60 * AREA_MM2 < spots(few) < 2 * 60 * AREA_MM2
    assert spots(many) > 4 * spots(few)


def test_dead_cells_leave_the_truth_as_it_is() -> None:
    _, said = debris_over(
        np.random.default_rng(4), bare_tissue(), debris(dead_per_mm2=2000.0), PX_UM, bright=True
    )
    assert (said == UNKNOWN).all()


def test_a_carpet_of_dead_cells_covers_a_part_of_the_image() -> None:
    carpet = debris(carpet_share=0.3, carpet_per_mm2=4000.0)
    signal, said = debris_over(np.random.default_rng(7), bare_tissue(), carpet, PX_UM, bright=True)
    near = cv2.blur(np.abs(signal), (21, 21)) > 0.3
    assert 0.15 < near.mean() < 0.55
    assert (said == UNKNOWN).all()


def test_pieces_of_tissue_are_no_part_of_the_culture() -> None:
    tissue = bare_tissue(int(CellClass.DIFFERENTIATED))
    signal, said = debris_over(
        np.random.default_rng(7),
        tissue,
        debris(pieces_per_mm2=25.0, piece_um=40.0),
        PX_UM,
        bright=True,
    )
    pieces = said == CellClass.BACKGROUND
    assert 0.02 < pieces.mean() < 0.9
    assert np.abs(signal[pieces]).mean() > 3 * np.abs(signal[said == UNKNOWN]).mean()
    culture = replace(
        draw_culture(np.random.default_rng(1)), debris=debris(pieces_per_mm2=25.0, piece_um=40.0)
    )
    optics = replace(draw_optics(np.random.default_rng(2), "phase"), well=False, bar=False)
    chance = np.random.default_rng(7)
    _, labels = photograph(np.random.default_rng(3), chance, tissue, culture, optics, PX_UM)
    assert set(np.unique(labels)) == {0, CellClass.DIFFERENTIATED, NOT_DIFFERENTIATED}


def test_round_cells_of_a_fresh_passage_are_not_differentiated_and_nobody_says_what_else() -> None:
    seeding = Seeding(0.0, 0.0, 3.0, 30.0, rounded_per_mm2=200.0)
    signal, said = debris_over(
        np.random.default_rng(7), bare_tissue(0, seeding), debris(), PX_UM, bright=True
    )
    assert spots(signal) > 10
    assert (said[signal > 1.0] == NOT_DIFFERENTIATED).mean() > 0.9
    # A round cell that lies on cells is one of them.
    _, on_cells = debris_over(
        np.random.default_rng(7), bare_tissue(1, seeding), debris(), PX_UM, bright=True
    )
    assert (on_cells == UNKNOWN).all()


def test_fresh_single_cells_and_small_clumps_are_undifferentiated() -> None:
    seeding = Seeding(120.0, 0.5, 5.0, 40.0, rounded_per_mm2=20.0)
    for seed in range(6):
        chance = np.random.default_rng(seed)
        layout = Layout(NOTHING, NO_SPREAD, seeding)
        tissue = grown(chance, layout, draw_culture(chance), PX_UM, 0.0)
        assert set(np.unique(tissue.labels)) == {0, CellClass.UNDIFFERENTIATED}
        assert 0.005 < (tissue.labels > 0).mean() < 0.6


def test_some_simulated_fields_are_freshly_passaged() -> None:
    layouts = [draw_layout(np.random.default_rng(seed), SHAPE, PX_UM) for seed in range(150)]
    fresh = [one for one in layouts if one.seeding is not None]
    assert 6 <= len(fresh) <= 40
    assert not any(one.region.any() for one in fresh)
    assert any(one.colony.any() for one in fresh)


def test_after_a_passage_the_medium_is_new() -> None:
    heavy = replace(draw_debris(np.random.default_rng(0)), dead_per_mm2=2000.0, carpet_share=0.4)
    assert after_passage(heavy).dead_per_mm2 == 300.0
    assert after_passage(heavy).carpet_share == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_relief_makes_one_side_bright_and_the_other_dark(seed: int) -> None:
    """Oblique light and differential interference: nothing else about a field changes."""
    plain = simulate_field(seed, shape=(96, 96), pixel_size_um=2.0, modality="phase")
    assert plain.image.std() > 0
    chance = np.random.default_rng(seed)
    culture = replace(draw_culture(chance), debris=debris(), debris_per_mm2=0.0)
    colony = NOTHING.copy()
    colony[80:160, 80:160] = True
    tissue = grown(chance, Layout(colony, NO_SPREAD), culture, PX_UM, 0.0)
    optics = replace(
        draw_optics(np.random.default_rng(9), "phase"),
        relief_angle=0.0, well=False, bar=False, shading=0.0, dark_side=0.0, vignetting=0.0,
        tile_px=0, noise=0.0, dust=0, rings=0, scratches=0, absorption=0.0, jpeg_quality=0,
        resample=1.0, gamma=1.0, bits=8,
    )  # fmt: skip
    images = []
    for relief in (0.0, 3.0):
        one = replace(optics, relief=relief)
        image, _ = photograph(
            np.random.default_rng(1), np.random.default_rng(2), tissue, culture, one, PX_UM
        )
        images.append(image.astype(np.float32))
    difference = images[1] - images[0]
    assert difference[80:160, 74:86].mean() * difference[80:160, 154:166].mean() < 0
