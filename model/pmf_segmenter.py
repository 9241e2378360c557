"""The pmf-CNN put to use: an image in, a label map and class probabilities out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import Model, load_model, read_manifest
from model.doubt.features import Vector, WindowPool
from model.doubt.reading import MapReading, reading_of
from model.manifest import ModelSummary
from model.network import VotingNetwork
from model.pmf import vote_counts, votes
from model.predict import STARTER
from model.preprocessing import PreparedImage, resample_rows, to_grey, working_shape
from model.runner_choice import take_runner
from model.runners.names import REFERENCE
from model.scale import CANDIDATE_SIZES_UM, ScaleEvidence, estimate_scale, grain_px
from model.segmentation import COUNTED_BLOCKS, Doubt, Segmentation, entropy_of, uncertainty_of
from model.strips import Rows, as_rows, in_strips

TILE_PX: Final = 1152
"""Side of a tile at the working scale: the network's memory grows with it, not with the image."""

PROBED_PX: Final = 900
"""Side of the middle of an image that its scale is judged by."""
QUICK_PX: Final = 600
"""For a quick look, the side of that at the working scale."""


class PmfSegmenter:
    """A model ready for use. One instance serves one thread at a time.

    runner : what its convolutions are run by, as `take_runner` knows them
    """

    def __init__(self, model: Model, *, tile_px: int = TILE_PX, runner: str = REFERENCE) -> None:
        self.manifest = model.manifest
        self.name = model.manifest.name
        self.sha256 = model.manifest.sha256
        self.um_per_pixel = model.manifest.um_per_pixel
        self.assumed_pixel_size_um = model.manifest.assumed_pixel_size_um
        self.window_um = model.manifest.network.window_px * model.manifest.um_per_pixel
        self.network = VotingNetwork(model.network, model.manifest.temperature)
        take_runner(self.network, model.manifest, runner)
        self.runner = str(self.network.runner.name)
        self._judge = model.judge
        self._tile_px = tile_px

    @classmethod
    def load(
        cls,
        folder: Path | None = None,
        *,
        threads: int | None = None,
        runner: str = REFERENCE,
    ) -> PmfSegmenter:
        """The model in a folder; without one the starter model that ships with the program.

        threads : for arithmetic in this process; None leaves it to the library
        Raises ModelError where the model is missing or not what its manifest says, or this machine
        does not have the runner.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(load_model(STARTER if folder is None else folder), runner=runner)

    def segment(
        self,
        image: NDArray[Any] | Rows,
        pixel_size_um: float | None,
        *,
        inside: NDArray[np.bool_] | Rows | None = None,
    ) -> Segmentation:
        """Classes of an image's pixels.

        image : (H, W) of any real dtype and range, or colour (see `to_grey`); any size. Rows are
            read a few at a time, twice
        pixel_size_um : um/px; None if unknown: then see `assume_pixel_size`
        inside : (H, W) bool, False outside the vessel
        Raises ValueError for an empty image, a pixel size that is none, or a mask of another shape.
        """
        source = as_rows(to_grey(image) if isinstance(image, np.ndarray) else image)
        mask = None if inside is None else as_rows(inside)
        shape = source.shape
        if 0 in shape:
            raise ValueError(f"an image of shape {image.shape} has no pixels")
        if pixel_size_um is not None and not 0 < pixel_size_um < 1e4:
            raise ValueError(
                f"a pixel size of {pixel_size_um} um is not a pixel size; give um/px or None"
            )
        if mask is not None and mask.shape != shape:
            raise ValueError(f"the mask is {mask.shape}, the image {shape}: they must be equal")
        assumed = self.assume_pixel_size(source, mask) if pixel_size_um is None else None
        size = pixel_size_um or assumed or self.um_per_pixel
        pool = None if self._judge is None else WindowPool()
        probabilities = self.probabilities(self._prepared(source, size, mask), pool, mask)
        doubt = Doubt()
        if self._judge is not None and pool is not None:
            doubt = self._judge.doubt_of(pool.vector(), reading_of(probabilities, mask))
        return Segmentation(
            probabilities=probabilities,
            shape=shape,
            inside=mask,
            pixel_size_um=pixel_size_um,
            assumed_pixel_size_um=assumed,
            uncertainty=uncertainty_of(probabilities, mask),
            doubt=doubt,
        )

    def look_at(
        self,
        image: NDArray[Any],
        pixel_size_um: float,
        inside: NDArray[np.bool_] | None = None,
    ) -> tuple[Vector | None, MapReading]:
        """What its doubt is judged by: how an image looks to the layers, and how it was read."""
        source = as_rows(to_grey(image))
        mask = None if inside is None else as_rows(inside)
        return self.look_at_prepared(self._prepared(source, pixel_size_um, mask), mask)

    def look_at_prepared(
        self, flat: NDArray[np.float32] | Rows, inside: Rows | None = None
    ) -> tuple[Vector | None, MapReading]:
        """The same of an image at the working scale (see `probabilities`)."""
        pool = WindowPool()
        found = self.probabilities(flat, pool, inside)
        return pool.vector(), reading_of(found, inside)

    def assume_pixel_size(
        self, image: NDArray[Any] | Rows, inside: NDArray[np.bool_] | Rows | None = None
    ) -> float:
        """The likeliest pixel size in um of an image of which nothing else is known.

        A model that was fine-tuned on images without a pixel size goes on with the one that was
        assumed for them: they were labelled under the same microscope. Of several images of one
        microscope more can be said: see `model.scale`.

        image : (H, W)
        """
        if self.assumed_pixel_size_um is not None:
            return self.assumed_pixel_size_um
        return estimate_scale([self.scale_evidence(image, inside)]).um

    def scale_evidence(
        self,
        image: NDArray[Any] | Rows,
        inside: NDArray[np.bool_] | Rows | None = None,
        *,
        quick: bool = False,
    ) -> ScaleEvidence:
        """How the middle of an image looks to the model at each of some pixel sizes.

        image : (H, W)
        quick : at every second of them, and at less of the image where it is enlarged
        """
        source, mask = as_rows(image), None if inside is None else as_rows(inside)
        read = CANDIDATE_SIZES_UM[:: 2 if quick else 1]
        doubts = []
        for size in read:
            side = PROBED_PX
            if quick:
                side = min(side, round(QUICK_PX * self.um_per_pixel / size))
            part, some = _middle(source, side), None if mask is None else _middle(mask, side)
            found = self.probabilities(self._prepared(part, size, some))
            doubts.append(float(entropy_of(found).mean()))
        if quick:
            logs = (np.log(CANDIDATE_SIZES_UM), np.log(read))
            doubts = [float(doubt) for doubt in np.interp(*logs, doubts)]
        side_px = float(np.sqrt(source.shape[0] * source.shape[1]))
        return ScaleEvidence(tuple(doubts), side_px, grain_px(source))

    def _prepared(
        self,
        grey: NDArray[Any] | Rows,
        size_um: float,
        inside: NDArray[np.bool_] | Rows | None,
    ) -> PreparedImage:
        stride = self.manifest.network.stride_px
        working = working_shape((grey.shape[0], grey.shape[1]), size_um, self.um_per_pixel, stride)
        return PreparedImage(grey, working, self.um_per_pixel, self.manifest.normalisation, inside)

    def probabilities(
        self,
        flat: NDArray[np.float32] | Rows,
        pool: WindowPool | None = None,
        inside: Rows | None = None,
    ) -> NDArray[np.float32]:
        """Mean votes for the blocks of a prepared image, tile by tile.

        flat : (H, W) float32 at the working scale, sides multiples of the stride
        pool : takes up what the layers say of the windows
        inside : of the image, False outside the vessel; for the pool alone
        Returns (3, H / block, W / block) float32, sum 1.

        Each window is run once, in the one tile that it belongs to, and the tiles' votes are added
        up before they are divided: tiles therefore leave no seams.
        """
        config = self.manifest.network
        windows, stride = config.windows, config.stride_px
        block = windows.block_px(config.voting_grids)
        border = -(-config.window_px // 2 // stride) * stride
        source = as_rows(flat)
        padded = [length + 2 * border for length in source.shape]
        rows, columns = (windows.positions(length) for length in padded)
        height, width = (windows.covered_px(n) // block for n in (rows, columns))
        total = np.zeros((config.classes, height, width), dtype=np.float32)
        for top, more_rows in _evenly(rows, windows.positions(self._tile_px)):
            first = top * stride
            band = _reflected(source, border, first, first + windows.covered_px(more_rows))
            for left, more_columns in _evenly(columns, windows.positions(self._tile_px)):
                start = left * stride
                pixels = band[:, start : start + windows.covered_px(more_columns)]
                counted = None
                if pool is not None and inside is not None:
                    places = (top, left, more_rows, more_columns)
                    counted = _middles_inside(inside, source.shape, stride, places)
                part = self._votes(np.ascontiguousarray(pixels), pool, counted)
                place = (
                    slice(first // block, first // block + part.shape[1]),
                    slice(start // block, start // block + part.shape[2]),
                )
                total[:, place[0], place[1]] += part
        inner = (
            slice(border // block, (border + source.shape[0]) // block),
            slice(border // block, (border + source.shape[1]) // block),
        )
        mean = total[:, inner[0], inner[1]]
        counts = [
            (along_rows.numpy()[inner[0]], along_columns.numpy()[inner[1]])
            for along_rows, along_columns in vote_counts(
                windows, config.voting_grids, (rows, columns), config.vote_margin_px
            )
        ]
        for top, bottom in in_strips(mean.shape[1], mean.shape[2], COUNTED_BLOCKS):
            mean[:, top:bottom] /= sum(
                np.outer(along_rows[top:bottom], along_columns)
                for along_rows, along_columns in counts
            )
        return mean

    def _votes(
        self,
        pixels: NDArray[np.float32],
        pool: WindowPool | None,
        counted: NDArray[np.bool_] | None,
    ) -> NDArray[np.float32]:
        """Sum (C, h, w) of the votes of all windows of a tile."""
        config = self.manifest.network
        seen: list[torch.Tensor] | None = None if pool is None else []
        with torch.inference_mode():
            pmfs = self.network(torch.from_numpy(pixels)[None, None], seen)
            if pool is not None and seen is not None:
                pool.add(seen, counted)
            return votes(pmfs, config.windows, config.vote_margin_px)[0][0].numpy()


def load(folder: Path, threads: int | None, runner: str) -> PmfSegmenter:
    """As `model.predict` asks each kind of network. Raises ModelError."""
    return PmfSegmenter.load(folder, threads=threads, runner=runner)


def summary(folder: Path) -> ModelSummary:
    """As `model.predict` asks each kind of network. Raises ModelError."""
    manifest = read_manifest(folder)
    return ModelSummary(manifest.name, manifest.sha256, manifest.um_per_pixel)


def _middle(image: Rows, side: int) -> NDArray[Any]:
    """The middle of an image, at most so many pixels a side."""
    rows, columns = (min(length, side) for length in image.shape)
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    return image.rows(top, top + rows)[:, left : left + columns]


def _evenly(positions: int, most: int) -> list[tuple[int, int]]:
    """First and number of the window positions of each tile: as few tiles as do, all alike."""
    tiles = -(-positions // max(1, most))
    edges = [positions * tile // tiles for tile in range(tiles + 1)]
    return [(first, last - first) for first, last in pairwise(edges)]


def _middles_inside(
    inside: Rows, working: tuple[int, int], stride: int, places: tuple[int, int, int, int]
) -> NDArray[np.bool_]:
    """(rows, columns): do the middles of a tile's windows lie inside the vessel?

    working : shape of the prepared image
    places : first row and column of the windows, and how many
    """
    top, left, rows, columns = places
    blocks = (working[0] // stride, working[1] // stride)
    # The border is half a window wide, so that window n has its middle where block n begins.
    down = np.minimum(np.arange(top, top + rows), blocks[0] - 1)
    across = np.minimum(np.arange(left, left + columns), blocks[1] - 1)
    shares = resample_rows(inside, blocks, int(down[0]), int(down[-1]) + 1)
    return np.asarray(shares[np.ix_(down - down[0], across)] >= 0.5)


def _reflected(image: Rows, border: int, top: int, bottom: int) -> NDArray[np.float32]:
    """Rows of the image with a reflected border, also where that is wider than the image."""
    lines, across = (np.pad(np.arange(length), border, mode="symmetric") for length in image.shape)
    wanted = lines[top:bottom]
    first = int(wanted.min())
    strip = image.rows(first, int(wanted.max()) + 1)
    result = np.empty((len(wanted), len(across)), dtype=np.float32)
    inner = slice(border, border + image.shape[1])
    result[:, inner] = strip[wanted - first]
    result[:, :border] = result[:, inner][:, across[:border]]
    result[:, inner.stop :] = result[:, inner][:, across[inner.stop :]]
    return result
