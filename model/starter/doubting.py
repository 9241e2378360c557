"""What tells how far the starter may be trusted: made from its training fields and those held out.

    python -m model.starter --calibrate FOLDER --real DATA

The real fields that it learnt from and some of the simulated ones are what it knows, and fields of
dishes that grow over days, which no training field shows, where it reads them rightly. Limits and
intervals come from lines, plates and seeds that it never learnt from. `ips_fields`, which may only
be measured on, have no part in it: they are told beside it, as what a new laboratory may expect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from model.checkpoint import Manifest, Model, load_model, save_model
from model.classes import UNKNOWN
from model.doubt.fit import RIGHT, Observed, fit_judge
from model.doubt.judge import Judge
from model.doubt.measured import as_markdown, doubt_table, risk_by_coverage
from model.manifest import CARD
from model.metrics import differentiated_fraction
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import bend
from model.simulation.drawing import Modality
from model.simulation.incubator import VirtualDish
from model.simulation.labelled import FIRST_TRAINING_SEED, simulated
from model.starter.held_out import IPS, KINDS, group_of, is_held_out
from model.starter.measuring import RealField, real_fields
from model.starter.progress import say
from model.starter.training_fields import EMPTY_DISHES, empty_dishes

REAL: Final = "real"
SIMULATED: Final = "simulated"
EMPTY: Final = "empty dish"
GROWING: Final = "growing dish"
LEARNT_FIELDS: Final = 240
HELD_FIELDS: Final = 200
FIRST_HELD_SEED: Final = 6100
"""Simulated fields that nothing else is chosen or measured by."""
LEARNT_EMPTY: Final = 24
HELD_EMPTY: Final = 12
LEARNT_DISHES: Final = 20
HELD_DISHES: Final = 10
FIRST_DISH_SEED: Final = 70_000
DISH_HOURS: Final = (0.0, 16.0, 32.0, 48.0, 72.0)
DISH_PX: Final = 512
HEADING: Final = "## How far it may be trusted"


@dataclass(frozen=True, eq=False)
class Doubting:
    """A judge, and what it says of images that the network never learnt from."""

    judge: Judge
    table: dict[str, dict[str, Any]]
    held: tuple[Observed, ...]

    @property
    def scores(self) -> dict[str, Any]:
        """For the manifest: the table, and by family the mean error of the surest images."""
        curves = {
            family: [
                [round(share, 4), round(risk, 5)]
                for share, risk in risk_by_coverage(
                    self.judge, [one for one in self.held if one.family == family]
                )
            ]
            for family in dict.fromkeys(one.family for one in self.held)
        }
        return {"doubt": self.table, "doubt_curves": curves}


def doubting_of(
    model: Model, real: Path | None, known: int = LEARNT_FIELDS, judged: int = HELD_FIELDS
) -> Doubting:
    """Observe the network and fit its judge. Raises DataError for real fields that are not whole.

    real : folder of real fields; None: by simulated fields alone
    known, judged : number of simulated fields that were learnt from, and of others
    """
    segmenter = PmfSegmenter(model)
    observed = [*_simulated(segmenter, known, judged)]
    observed += _empty(segmenter, min(known, LEARNT_EMPTY), min(judged, HELD_EMPTY))
    observed += _growing(segmenter, min(known, LEARNT_DISHES), min(judged, HELD_DISHES))
    if real is not None:
        for kind in KINDS:
            observed += _real(segmenter, real, kind)
            say(f"doubt: {kind} observed")
    # What may only be measured on has no part in the judge.
    judge = fit_judge([one for one in observed if one.kind != IPS], SIMULATED)
    held = tuple(one for one in observed if not one.learnt)
    return Doubting(judge, doubt_table(judge, held), held)


def _simulated(segmenter: PmfSegmenter, known: int, judged: int) -> Iterator[Observed]:
    learnt = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + known)
    held = range(FIRST_HELD_SEED, FIRST_HELD_SEED + judged)
    for seed in (*learnt, *held):
        one = simulated(seed)
        vector, read = segmenter.look_at(one.image, one.pixel_size_um or segmenter.um_per_pixel)
        if vector is not None:
            truth = differentiated_fraction(one.labels)
            yield Observed(SIMULATED, SIMULATED, one.name, seed in learnt, vector, read, truth)
    say(f"doubt: {len(learnt)} + {len(held)} simulated fields observed")


def _empty(segmenter: PmfSegmenter, known: int, judged: int) -> Iterator[Observed]:
    for number, one in enumerate(empty_dishes(EMPTY_DISHES + judged)):
        if known <= number < EMPTY_DISHES:
            continue
        flat = bend(np.asarray(one.flat, dtype=np.float32))
        vector, read = segmenter.look_at_prepared(flat)
        if vector is not None:
            learnt = number < known
            yield Observed(SIMULATED, EMPTY, one.name, learnt, vector, read, None)


def _growing(segmenter: PmfSegmenter, known: int, judged: int) -> Iterator[Observed]:
    for number in range(known + judged):
        onset = DISH_HOURS[1 + number // 2 % 3] if number % 2 else None
        modality: Modality = "brightfield" if number % 4 >= 2 else "phase"
        dish = VirtualDish(f"dish {number}", FIRST_DISH_SEED + number, onset, modality)
        for hours in DISH_HOURS:
            one = dish.field(hours, shape=(DISH_PX, DISH_PX))
            vector, read = segmenter.look_at(one.image, one.pixel_size_um)
            truth = differentiated_fraction(one.labels)
            if vector is None:
                continue
            seen = Observed(SIMULATED, GROWING, dish.name, number < known, vector, read, truth)
            # What it was not trained on is known as far as it is read rightly.
            if seen.learnt and (seen.error is None or seen.error >= RIGHT):
                continue
            yield seen
    say(f"doubt: {known} + {judged} growing dishes observed")


def _real(segmenter: PmfSegmenter, real: Path, kind: str) -> Iterator[Observed]:
    for one in real_fields(real, kind, every=True):
        size = one.pixel_size_um or segmenter.um_per_pixel
        vector, read = segmenter.look_at(one.image, size, one.inside)
        if vector is not None:
            group, learnt = group_of(kind, one.name), not is_held_out(kind, one.name)
            yield Observed(REAL, kind, group, learnt, vector, read, _truth(one))


def _truth(one: RealField) -> float | None:
    if one.healthy:
        return 0.0
    return differentiated_fraction(one.labels[one.labels != UNKNOWN])


def section(table: dict[str, dict[str, Any]]) -> str:
    """The part of the card that tells it."""
    return f"""{HEADING}

Each segmentation says whether the image is of a kind that is known, whether it was read clearly,
and between which bounds the differentiated fraction lies nine times in ten (docs/doubt.md). By
kind, on fields whose line, plate or seed was never learnt from; `ips_fields` are for measuring only
and had no part in it. "Calibrated" asks for at least 9 independent dishes or lines of that very
kind, not all with the same fraction; where there are fewer, the interval is that of the simulated
fields, widened to what the kind's own fields ask for.

{as_markdown(table)}
"""


def with_section(card: str, table: dict[str, dict[str, Any]]) -> str:
    """A card with this part in it, in the place of the former one or before the limits."""
    before, found, rest = card.partition(HEADING)
    if found:
        _, heading, after = rest.partition("\n## ")
        after = f"{heading.strip()} {after}" if heading else ""
    else:
        before, heading, after = card.partition("## Limits")
        after = heading + after
    parts = (before.rstrip(), section(table).rstrip(), after.strip())
    return "\n\n".join(part for part in parts if part) + "\n"


def calibrate(folder: Path, real: Path | None, tell: Callable[[str], None] = say) -> Manifest:
    """Give the model in a folder a judge, or a new one; its weights stay what they are.

    Raises ModelError, DataError.
    """
    model = load_model(folder)
    found = doubting_of(model, real)
    scores = {**model.manifest.scores, **found.scores}
    manifest = Manifest(**{**vars(model.manifest), "scores": scores})
    card = (folder / CARD).read_text(encoding="utf-8")
    text = with_section(card, found.table)
    tell(as_markdown(found.table))
    return save_model(folder, Model(model.network, manifest, found.judge), text)
