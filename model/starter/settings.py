"""What the starter model is: its network, its scale, and how and from what it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from model.network import PmfCNNConfig
from model.train import TrainingSettings

UM_PER_PIXEL: Final = 2.5
STARTER_CONFIG: Final = PmfCNNConfig(
    window_px=128,
    stride_px=8,
    grids=(1, 4, 8, 16, 32),
    voting_grids=(32,),
    vote_margin_px=52,
    widths=(32, 64, 128),
    context_channels=128,
    view_channels=64,
)


@dataclass(frozen=True)
class Stage:
    """One of the runs that follow each other, each on what the one before has learnt.

    steps : of gradient descent
    shares : of the crops by kind of real picture; the rest comes from simulated fields
    """

    steps: int
    shares: Mapping[str, float]
    training: TrainingSettings


FIRST: Final = Stage(
    20_000,
    {
        "hipsc_phase": 0.08,
        "passage": 0.16,
        "incubator_6well": 0.06,
        "incubator_96well": 0.04,
        "spread_cells_phase": 0.09,
        "empty": 0.04,
    },
    TrainingSettings(crop_px=184, batch=8, average_over_steps=1500),
)
"""All cells of all grids are learnt: what a place says is then learnt from many windows."""
SECOND: Final = Stage(
    15_000,
    {
        "hipsc_phase": 0.09,
        "passage": 0.22,
        "incubator_6well": 0.08,
        "incubator_96well": 0.03,
        "spread_cells_phase": 0.11,
        "empty": 0.02,
    },
    replace(
        FIRST.training,
        crop_px=216,
        batch=6,
        learning_rate=1.2e-3,
        average_over_steps=1200,
        voters_only=True,
    ),
)
"""Only what counts in use, and more of the real fields; crops of more windows, which cost less."""
STAGES: Final = (FIRST, SECOND)
ODDS: Final = 2.0
"""By which differentiated cells are favoured over what the crops make of them. There they are 2.5
times rarer than undifferentiated ones, which says what pictures were at hand and nothing of a dish
(logit adjustment: Menon et al., Long-tail learning via logit adjustment, ICLR 2021). Not 2.5: with
that, healthy dishes after a passage read more than 2 % differentiated."""
WELL_DIAMETER_UM: Final = 6400.0
SPREAD_CELLS_PIXEL_SIZE_UM: Final = 0.8708
"""By the private tag 65326 of the source's raw TIFFs."""
IPS_FIELDS_PIXEL_SIZE_UM: Final = 3.0
"""Not stated by its source; from the size of the cells."""
