"""What the starter model is: its network, its scale, and how and from what it learns."""

from __future__ import annotations

from collections.abc import Mapping
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
SHARES: Final[Mapping[str, float]] = {
    "hipsc_phase": 0.08,
    "passage": 0.16,
    "incubator_6well": 0.06,
    "incubator_96well": 0.04,
    "spread_cells_phase": 0.09,
    "empty": 0.04,
}
"""Shares of the crops by kind of picture; the rest comes from simulated fields."""
STARTER_SETTINGS: Final = TrainingSettings(crop_px=184, batch=8, average_over_steps=1500)
WELL_DIAMETER_UM: Final = 6400.0
SPREAD_CELLS_PIXEL_SIZE_UM: Final = 0.8708
"""By the private tag 65326 of the source's raw TIFFs."""
IPS_FIELDS_PIXEL_SIZE_UM: Final = 3.0
"""Not stated by its source; from the size of the cells."""
