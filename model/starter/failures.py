"""Examples of failure: the simulated fields that a model reads worst, drawn for its card.

    python -m model.starter --failures FOLDER

Simulated fields, since no real one may be passed on. These are the worst of a hundred, not the
usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.checkpoint import load_model
from model.classes import CellClass
from model.dataset import LabelledImage
from model.metrics import confusion, differentiated_fraction
from model.pmf_segmenter import PmfSegmenter
from model.segmentation import Segmentation
from model.simulation.labelled import simulated
from model.starter.training_fields import TESTED_SEEDS

PICTURE: Final = "failures.jpg"
HEADING: Final = "## Where it goes wrong"
SHOWN: Final = 6
_SIDE_PX: Final = 300
_GAP_PX: Final = 6
_CAPTION_PX: Final = 24
_OUTLINES_BGR: Final = {
    CellClass.UNDIFFERENTIATED: (115, 158, 0),
    CellClass.DIFFERENTIATED: (0, 94, 213),
}
_JPEG_QUALITY: Final = 82


@dataclass(frozen=True, eq=False)
class Failure:
    """A field that was read wrongly.

    wrong : share of its pixels that are called something else
    """

    field: LabelledImage
    read: Segmentation
    wrong: float

    @property
    def caption(self) -> str:
        true = _percent(differentiated_fraction(self.field.labels))
        found = _percent(differentiated_fraction(self.read.labels))
        doubt = "in doubt" if self.read.doubt.in_doubt else "not in doubt"
        return f"differentiated: truth {true}, read {found}, {doubt}"


def _percent(fraction: float | None) -> str:
    return "no cells" if fraction is None else f"{fraction:.0%}"


def failures_of(segmenter: PmfSegmenter, fields: int) -> list[Failure]:
    """The worst of so many simulated fields that were never learnt from, the worst first."""
    found = []
    for seed in range(TESTED_SEEDS[0], TESTED_SEEDS[0] + fields):
        one = simulated(seed)
        read = segmenter.segment(one.image, one.pixel_size_um)
        counts = confusion(one.labels, read.labels).counts
        found.append(Failure(one, read, 1 - float(np.trace(counts)) / max(int(counts.sum()), 1)))
    return sorted(found, key=lambda one: -one.wrong)[:SHOWN]


def draw_failures(failures: Sequence[Failure]) -> bytes:
    """A JPEG with a row a field: the image, its truth, what was read."""
    picture = np.vstack([_row(one) for one in failures])
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return content.tobytes()


def _row(one: Failure) -> NDArray[np.uint8]:
    panels = [
        _panel(one.field.image, labels) for labels in (None, one.field.labels, one.read.labels)
    ]
    gap = np.full((_SIDE_PX, _GAP_PX, 3), 255, np.uint8)
    row = np.hstack([panels[0], gap, panels[1], gap, panels[2]])
    caption = np.full((_CAPTION_PX, row.shape[1], 3), 255, np.uint8)
    cv2.putText(
        caption, one.caption, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (40, 40, 40), 1, cv2.LINE_AA
    )
    return np.vstack([caption, row])


def _panel(image: NDArray[Any], labels: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    low, high = np.percentile(image, [0.5, 99.5])
    grey = np.clip((image - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    side = (_SIDE_PX, _SIDE_PX)
    shown = cv2.cvtColor(cv2.resize(grey, side, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    if labels is not None:
        small = cv2.resize(labels, side, interpolation=cv2.INTER_NEAREST)
        for value, colour in _OUTLINES_BGR.items():
            where = (small == value).astype(np.uint8)
            lines, _ = cv2.findContours(where, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(shown, lines, -1, colour, 2)
    return np.asarray(shown, dtype=np.uint8)


def failure_section(fields: int) -> str:
    """The part of the card that shows the picture."""
    return f"""{HEADING}

![the simulated fields that were read worst]({PICTURE})

Of {fields} simulated fields those with the most pixels called something else. Left the image, in
the middle the truth, right what was read: undifferentiated outlined green, differentiated orange.
"""


def show_failures(folder: Path, fields: int = 100) -> None:
    """Draw the failures of a model into its folder. Raises ModelError."""
    failures = failures_of(PmfSegmenter(load_model(folder)), fields)
    (folder / PICTURE).write_bytes(draw_failures(failures))
