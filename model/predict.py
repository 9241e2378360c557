"""An image in, a label map and class probabilities out: all that the monitor sees of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import Model, ModelError, load_model
from model.classes import UNKNOWN, CellClass
from model.pmf import votes
from model.preparation import at_working_scale, bend, normalise, to_grey, working_shape

__all__ = ["STARTER", "ModelError", "Segmentation", "Segmenter", "to_grey"]

STARTER: Final = Path(__file__).parent / "weights" / "starter"
"""Folder of the model that ships with the program."""

TILE_PX: Final = 1024
"""Side of a tile at the working scale: the network's memory grows with it, not with the image."""

CANDIDATE_SIZES_UM: Final = (0.65, 0.9, 1.25, 1.75, 2.4, 3.2, 4.4)
"""Pixel sizes that are tried where none is given."""

PROBED_UM: Final = 1200.0
USUAL_VIEW_UM: Final = 1500.0

_STRIP_ROWS: Final = 256


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What stands where in an image.

    labels : (H, W) uint8 at the image's own size, values of CellClass; 255 outside the vessel
    probabilities : (3, h, w) float32 at the model's coarser grid; rows and columns are spread
        evenly over the image
    pixel_size_um : as it was given
    assumed_pixel_size_um : the pixel size that was assumed when none was given, else None
    uncertainty : 0..1, mean entropy of the class distribution over the cells' area (over all of it
        where there are no cells), 1 where all classes are equally likely
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    pixel_size_um: float | None
    assumed_pixel_size_um: float | None
    uncertainty: float

    def probability(self, cell_class: CellClass) -> NDArray[np.float32]:
        """(H, W) float32: probability of a class at the image's own size."""
        plane = self.probabilities[int(cell_class)]
        spread = spread_evenly(plane[None], self.labels.shape, 0, self.labels.shape[0])
        return np.asarray(spread[0])


class Segmenter:
    """A model ready for use. One instance serves one thread at a time."""

    def __init__(self, model: Model, *, tile_px: int = TILE_PX) -> None:
        self.manifest = model.manifest
        self.name = model.manifest.name
        self.sha256 = model.manifest.sha256
        self.um_per_pixel = model.manifest.um_per_pixel
        self.window_um = model.manifest.network.window_px * model.manifest.um_per_pixel
        self._network = model.network.folded()
        self._tile_px = tile_px

    @classmethod
    def load(cls, folder: Path | None = None, *, threads: int | None = None) -> Segmenter:
        """The model in a folder; without one the starter model that ships with the program.

        threads : for arithmetic in this process; None leaves it to the library
        Raises ModelError where the model is missing or not what its manifest says.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(load_model(STARTER if folder is None else folder))

    def segment(
        self,
        image: NDArray[Any],
        pixel_size_um: float | None,
        *,
        inside: NDArray[np.bool_] | None = None,
    ) -> Segmentation:
        """Classes of an image's pixels.

        image : (H, W) of any real dtype and range, or colour (see `to_grey`); any size
        pixel_size_um : um a pixel; None if unknown: then see `assume_pixel_size`
        inside : (H, W) bool, False outside the vessel
        Raises ValueError for an empty image, a pixel size that is none, or a mask of another shape.
        """
        grey = to_grey(image)
        shape = (grey.shape[0], grey.shape[1])
        if 0 in shape:
            raise ValueError(f"an image of shape {image.shape} has no pixels")
        if pixel_size_um is not None and not 0 < pixel_size_um < 1e4:
            raise ValueError(f"a pixel size of {pixel_size_um} um is none; give um a pixel or None")
        if inside is not None and inside.shape != shape:
            raise ValueError(f"the mask is {inside.shape}, the image {shape}: they must be equal")
        assumed = self.assume_pixel_size(grey, inside) if pixel_size_um is None else None
        size = pixel_size_um or assumed or self.um_per_pixel
        flat = self._prepared(grey, size, inside)
        probabilities = self.probabilities(flat)
        labels = label_map(probabilities, shape, inside)
        return Segmentation(
            labels=labels,
            probabilities=probabilities,
            pixel_size_um=pixel_size_um,
            assumed_pixel_size_um=assumed,
            uncertainty=_uncertainty(probabilities, inside),
        )

    def assume_pixel_size(
        self, image: NDArray[Any], inside: NDArray[np.bool_] | None = None
    ) -> float:
        """The pixel size in um at which the model is surest of an image.

        Cells that are shown at the wrong scale look like nothing that the model has learnt, so its
        distributions are then flat. A field of view far from the usual 1.5 mm counts against a
        size, else a few grains of noise at a tiny size could win.

        image : (H, W)
        """
        best, least = self.um_per_pixel, float("inf")
        for size in CANDIDATE_SIZES_UM:
            rows, columns = (min(n, max(64, round(PROBED_UM / size))) for n in image.shape)
            top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
            place = (slice(top, top + rows), slice(left, left + columns))
            some = None if inside is None else inside[place]
            probabilities = self.probabilities(self._prepared(image[place], size, some))
            view = math.sqrt(image.shape[0] * image.shape[1]) * size
            doubt = float(_entropy(probabilities).mean())
            doubt += 0.1 * math.log(view / USUAL_VIEW_UM) ** 2
            if doubt < least:
                best, least = size, doubt
        return best

    def _prepared(
        self, grey: NDArray[Any], size_um: float, inside: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        shape = (grey.shape[0], grey.shape[1])
        stride = self.manifest.network.stride_px
        working = working_shape(shape, size_um, self.um_per_pixel, stride)
        levels, share = at_working_scale(grey, working, inside)
        return bend(normalise(levels, share, self.um_per_pixel, self.manifest.normalisation))

    def probabilities(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean votes for the blocks of a prepared image, tile by tile.

        flat : (H, W) float32 at the working scale, sides multiples of the stride
        Returns (3, H / block, W / block) float32, sum 1.

        Each window is run once, in the one tile that it belongs to, and the tiles' votes are added
        up before they are divided: tiles therefore leave no seams.
        """
        config = self.manifest.network
        windows, stride = config.windows, config.stride_px
        block = windows.block_px(config.voting_grids)
        border = -(-config.window_px // 2 // stride) * stride
        padded = _reflect(flat, border)
        rows, columns = (windows.positions(length) for length in padded.shape)
        height, width = (windows.covered_px(n) // block for n in (rows, columns))
        total = np.zeros((config.classes, height, width), dtype=np.float32)
        count = np.zeros((height, width), dtype=np.float32)
        per_tile = max(1, windows.positions(self._tile_px))
        for top in range(0, rows, per_tile):
            for left in range(0, columns, per_tile):
                some = (min(per_tile, rows - top), min(per_tile, columns - left))
                pixels = padded[
                    top * stride : top * stride + windows.covered_px(some[0]),
                    left * stride : left * stride + windows.covered_px(some[1]),
                ]
                with torch.inference_mode():
                    tensor = torch.from_numpy(np.ascontiguousarray(pixels))[None, None]
                    logits = self._network(tensor, config.voting_grids)
                    pmfs = {
                        grid: torch.softmax(values / self.manifest.temperature, dim=2)
                        for grid, values in logits.items()
                    }
                    part, number = votes(pmfs, windows, config.vote_margin_px)
                place = (
                    slice(top * stride // block, top * stride // block + part.shape[2]),
                    slice(left * stride // block, left * stride // block + part.shape[3]),
                )
                total[:, place[0], place[1]] += part[0].numpy()
                count[place] += number.numpy()
        first = border // block
        inner = (
            slice(first, first + flat.shape[0] // block),
            slice(first, first + flat.shape[1] // block),
        )
        mean = total[:, inner[0], inner[1]] / count[inner]
        return np.ascontiguousarray(mean, dtype=np.float32)


def _reflect(flat: NDArray[np.float32], border: int) -> NDArray[np.float32]:
    """The image with a reflected border, also where the border is wider than the image."""
    return np.pad(flat, border, mode="symmetric")


def spread_evenly(
    planes: NDArray[np.float32], shape: tuple[int, ...], top: int, bottom: int
) -> NDArray[np.float32]:
    """Rows ``top`` to ``bottom`` of coarse maps brought to an image's size, bilinearly.

    planes : (C, h, w) float32, spread evenly over the image
    shape : (H, W) of the whole image
    Returns (C, bottom - top, W) float32. Strips put together equal the whole.
    """
    height = planes.shape[1]
    place = (np.arange(top, bottom) + 0.5) * (height / shape[0]) - 0.5
    place = np.clip(place, 0, height - 1)
    first = np.floor(place).astype(np.intp)
    part = (place - first).astype(np.float32)[:, None]
    second = np.minimum(first + 1, height - 1)
    strips = [
        cv2.resize(
            plane[first] * (1 - part) + plane[second] * part,
            (shape[1], bottom - top),
            interpolation=cv2.INTER_LINEAR,
        )
        for plane in planes
    ]
    return np.stack(strips).astype(np.float32, copy=False)


def label_map(
    probabilities: NDArray[np.float32],
    shape: tuple[int, int],
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The most probable class of each pixel; 255 where ``inside`` is False.

    probabilities : (C, h, w) float32, spread evenly over the image
    shape : (H, W) of the image
    """
    labels = np.empty(shape, dtype=np.uint8)
    for top in range(0, shape[0], _STRIP_ROWS):
        bottom = min(shape[0], top + _STRIP_ROWS)
        strip = spread_evenly(probabilities, shape, top, bottom)
        best, winner = strip[0], labels[top:bottom]
        winner[:] = 0
        for value in range(1, strip.shape[0]):
            winner[strip[value] > best] = value
            best = np.maximum(best, strip[value])
    if inside is not None:
        labels[~inside] = UNKNOWN
    return labels


def _entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w): 0 where one class is certain, 1 where all are equally likely."""
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-9))).sum(axis=0)
    return np.asarray(entropy / math.log(probabilities.shape[0]), dtype=np.float32)


def _uncertainty(probabilities: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> float:
    entropy = _entropy(probabilities)
    counted = np.ones(entropy.shape, dtype=bool)
    if inside is not None:
        size = (entropy.shape[1], entropy.shape[0])
        share = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        counted = np.asarray(share >= 0.5)
    cells = counted & (probabilities.argmax(axis=0) != CellClass.BACKGROUND)
    area = cells if cells.any() else counted
    return float(np.clip(entropy[area].mean(), 0.0, 1.0)) if area.any() else 0.0
