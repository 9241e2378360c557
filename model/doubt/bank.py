"""Is an image of a kind that the model knows? How far its features lie from those it learnt from.

Features of length 1 and the distance to the k-th nearest of those that were learnt from: Sun et
al., Out-of-distribution detection with deep nearest neighbors, ICML 2022. Beside it what is left of
an image's features when all directions in which the images of a family differ are taken away: Wang
et al., ViM: Out-of-distribution with virtual-logit matching, CVPR 2022. Why both, and why by
families: docs/doubt.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS: Final = 3
MOST_DIRECTIONS: Final = 64
LEAST: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Family:
    """Images that were learnt from and are like each other: real ones, simulated ones.

    vectors : (N, D) float16, each of length 1
    kinds : (N,) int16, number of each one's kind
    near, left : up to which distance from the k-th nearest, and with how much left outside the
        family's directions, an image belongs to it
    mixture, entropy : of a `MapReading`, up to which an image like these is read clearly
    """

    vectors: NDArray[np.float16]
    kinds: NDArray[np.int16]
    near: float
    left: float
    mixture: float
    entropy: float


@dataclass(frozen=True)
class Place:
    """Where an image lies.

    family : that it is least strange to
    kind : number of the kind that most of its k nearest there are of
    strangeness : 1 at that family's limits; above it the image is unfamiliar
    """

    family: Family
    kind: int
    strangeness: float


class Bank:
    """Families of images that were learnt from."""

    def __init__(self, families: Sequence[Family], neighbours: int = NEIGHBOURS) -> None:
        self.families = tuple(families)
        self.neighbours = neighbours
        self._spans = [Span(one.vectors) for one in self.families]

    def place(self, vector: NDArray[np.float32]) -> Place:
        """Where an image of these features lies. vector : (D,), length 1"""
        places = []
        for family, span in zip(self.families, self._spans, strict=True):
            far, kind = nearest(vector, family.vectors, family.kinds, self.neighbours)
            left = span.left_of(vector)
            strangeness = max(far / max(family.near, LEAST), left / max(family.left, LEAST))
            places.append(Place(family, kind, strangeness))
        return min(places, key=lambda one: one.strangeness)


class Span:
    """The directions in which rows differ most: at most half as many as there are rows."""

    def __init__(self, rows: NDArray[np.floating[Any]]) -> None:
        values = rows.astype(np.float64)
        self._mean = values.mean(axis=0)
        off = values - self._mean
        count = min(MOST_DIRECTIONS, len(values) // 2)
        # By the products of rows with rows, of which there are far fewer than of columns.
        strengths, mixtures = np.linalg.eigh(off @ off.T)
        directions = mixtures[:, ::-1][:, :count].T @ off
        lengths = np.sqrt(np.maximum(strengths[::-1][:count], LEAST**2))
        self._directions = directions / lengths[:, None]

    def left_of(self, vector: NDArray[np.floating[Any]]) -> float:
        """Length of what is left of a vector (D,) outside the directions."""
        off = vector.astype(np.float64) - self._mean
        return float(np.linalg.norm(off - self._directions.T @ (self._directions @ off)))


def nearest(
    vector: NDArray[np.floating[Any]],
    vectors: NDArray[np.floating[Any]],
    kinds: NDArray[np.integer[Any]],
    neighbours: int = NEIGHBOURS,
) -> tuple[float, int]:
    """Distance to the k-th nearest row, and the kind that most of the k are of.

    With fewer rows than k the farthest counts. Of kinds with equally many the nearer one.
    """
    off = np.subtract(vectors, vector, dtype=np.float64)
    rows = np.sqrt(np.square(off, out=off).sum(axis=1))
    # Rows that are equally far are taken by their kind, not by where they stand.
    order = np.lexsort((kinds, rows))[:neighbours]
    near = [int(kind) for kind in kinds[order]]
    return float(rows[order[-1]]), max(dict.fromkeys(near), key=near.count)


def upper(values: Sequence[float], share: float) -> float:
    """The value below which so large a share lies, counted as conformal prediction does; the
    largest where there are too few; 0 where there is none.
    """
    ordered = sorted(value for value in values if math.isfinite(value))
    if not ordered:
        return 0.0
    return ordered[min(len(ordered), math.ceil(share * (len(ordered) + 1))) - 1]
