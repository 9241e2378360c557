"""The virtual incubator: pictures of iPS colonies whose truth is known to the pixel.

`simulate_field` draws one field at random from a distribution far wider than any one microscope,
for training. `VirtualDish` lets the same colonies grow over days, for the demonstration.

Every picture is made in three steps. A *layout* says where colonies and differentiated regions
lie. Cells are packed (undifferentiated) or strewn (differentiated) into it, which gives an optical
thickness and, from the very same cells, the label map. *Optics* turn thickness into grey levels:
differences of Gaussians stand for phase halos and for defocused brightfield, then dead cells,
uneven light, noise and storage follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from model.classes import CellClass
from model.simulation.cells import draw_culture, grown
from model.simulation.debris import after_passage
from model.simulation.drawing import MODALITIES, PIXEL_SIZE_RANGE_UM, Labels, Modality, log_uniform
from model.simulation.layout import draw_layout
from model.simulation.optics import draw_optics, photograph


@dataclass(frozen=True)
class Fractions:
    """What a label map holds, outside the vessel and unknown pixels left out.

    differentiated_fraction : of the cell area; None where there are no cells
    confluence : cell area over known area; None where nothing is known
    """

    background: float
    undifferentiated: float
    differentiated: float
    differentiated_fraction: float | None
    confluence: float | None


@dataclass(frozen=True, eq=False)
class SimulatedField:
    """One picture and its truth.

    image : (H, W) uint8 or uint16
    labels : (H, W) uint8, values of `CellClass` and `UNKNOWN`
    pixel_size_um : um/px, the same in both directions
    modality : "phase" or "brightfield"
    seed : what it was drawn from
    """

    image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    labels: Labels
    pixel_size_um: float
    modality: Modality
    seed: int

    @property
    def fractions(self) -> Fractions:
        """Fractions of the known pixels, counted from the label map."""
        return label_fractions(self.labels)


def label_fractions(labels: Labels) -> Fractions:
    """Fractions of the known pixels of a label map.

    labels : (H, W) uint8, values of `CellClass` and `UNKNOWN`
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    background, undifferentiated, differentiated = (
        int(counts[c])
        for c in (CellClass.BACKGROUND, CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED)
    )
    cells = undifferentiated + differentiated
    known = background + cells
    return Fractions(
        background=background / known if known else 0.0,
        undifferentiated=undifferentiated / known if known else 0.0,
        differentiated=differentiated / known if known else 0.0,
        differentiated_fraction=differentiated / cells if cells else None,
        confluence=cells / known if known else None,
    )


# One field


def simulate_field(
    seed: int,
    *,
    shape: tuple[int, int] = (512, 512),
    pixel_size_um: float | None = None,
    modality: str | None = None,
) -> SimulatedField:
    """Draw one field at random: what it shows and how it was imaged.

    seed : at least 0; the same seed and arguments give the same field
    shape : (rows, columns), each at least 32
    pixel_size_um : drawn log-uniformly from `PIXEL_SIZE_RANGE_UM` where None
    modality : "phase" or "brightfield"; drawn where None

    Raises ValueError for a seed, shape, pixel size or modality out of these.
    """
    check(seed, shape, pixel_size_um, modality)
    rng = np.random.default_rng(seed)
    drawn_size = log_uniform(rng, *PIXEL_SIZE_RANGE_UM)
    drawn_modality = MODALITIES[int(rng.random() < 0.45)]
    size = drawn_size if pixel_size_um is None else float(pixel_size_um)
    kind = drawn_modality if modality is None else cast(Modality, modality)
    optics = draw_optics(rng, kind)
    culture = draw_culture(rng)
    layout = draw_layout(rng, shape, size)
    if layout.seeding is not None:
        culture = replace(culture, debris=after_passage(culture.debris))
    tissue = grown(rng, layout, culture, size, 0.0)
    image, labels = photograph(rng, rng, tissue, culture, optics, size)
    return SimulatedField(image, labels, size, kind, seed)


def check(
    seed: int, shape: tuple[int, int], pixel_size_um: float | None, modality: str | None
) -> None:
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; give 0 or more")
    if len(shape) != 2 or min(shape) < 32:
        raise ValueError(f"shape {shape} is too small; give at least 32 rows and 32 columns")
    if pixel_size_um is not None and not (0.1 <= pixel_size_um <= 20):
        raise ValueError(f"pixel size {pixel_size_um} um is out of reach; give 0.1 to 20")
    if modality is not None and modality not in MODALITIES:
        raise ValueError(f"modality {modality!r} is unknown; give one of {', '.join(MODALITIES)}")
