"""Simulated fields as labelled images, each known by its seed: to train on, and never those to
measure by.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from model.dataset import LabelledImage
from model.simulation.fields import simulate_field

FIELD_UM: Final = 960.0
"""Side of a field: a few colonies."""
FIRST_TEST_SEED: Final = 1000
LAST_TEST_SEED: Final = 9999
"""Simulated fields of these seeds are for measuring and are never trained on."""
FIRST_TRAINING_SEED: Final = 100_000


def simulated(seed: int, side_um: float = FIELD_UM) -> LabelledImage:
    """One simulated field at a pixel size of its own: 0.6 to 4.6 um, log-uniform."""
    chance = np.random.default_rng([seed, 1])
    size = float(math.exp(chance.uniform(math.log(0.6), math.log(4.6))))
    side = max(32, round(side_um / size))
    drawn = simulate_field(seed, shape=(side, side), pixel_size_um=size)
    return LabelledImage(f"simulated {seed}", drawn.image, drawn.labels, size)
