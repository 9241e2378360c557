"""What it costs not to know the pixel size, on real fields.

    python -m tools.bench.pixel_size [--model FOLDER] [--data FOLDER] [--every N]

The fields of each kind are sorted by how they were taken, as far as their names and shapes tell.
Their pixel size is withheld, estimated for each field by itself and for all of a setup together,
and the segmentation at each of the two is held against that at the true size. Prints a table in
Markdown. `ips_fields` have no known size: theirs is a guess.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import to_grey
from model.scale import ScaleEstimate, ScaleEvidence, estimate_scale
from model.setups import Setup, by_setup
from model.starter.held_out import HIPSC, IPS, PASSAGE, SPREAD
from model.starter.measuring import RealField, real_fields, score_field

DATA = Path(
    os.environ.get("COLONYWATCH_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")
)
KINDS = (HIPSC, PASSAGE, IPS, SPREAD)


@dataclass(frozen=True, eq=False)
class Field:
    """A real field, what it says of its pixel size, and how well it is read at its true one."""

    field: RealField
    evidence: ScaleEvidence
    given: float


@dataclass(frozen=True)
class Row:
    """A setup: true and estimated sizes, um/px, and mean Jaccard over its fields."""

    name: str
    fields: int
    true_um: tuple[float, float]
    alone_um: tuple[float, float]
    pooled: ScaleEstimate
    given: float
    alone: float
    together: float

    @property
    def text(self) -> str:
        loss = self.together - self.given
        steady = "" if self.pooled.is_steady else " (not steady)"
        return (
            f"| {self.name} | {self.fields} | {_span(self.true_um)} | {_span(self.alone_um)} "
            f"| {self.pooled.um:.2f}{steady} | {self.given:.3f} | {self.alone:.3f} "
            f"| {self.together:.3f} | {loss:+.3f} |"
        )


def jaccard(segmenter: PmfSegmenter, field: RealField, um: float) -> float:
    """Mean over the classes that the field has."""
    counts = score_field(segmenter, replace(field, pixel_size_um=um)).confusion
    return float(np.nanmean(np.where(counts.counts.sum(axis=1) > 0, counts.jaccard, np.nan)))


def fields_of(segmenter: PmfSegmenter, data: Path, kind: str, every: int) -> Iterator[Field]:
    for number, one in enumerate(real_fields(data, kind, every=True)):
        if number % every == 0 and one.pixel_size_um is not None:
            evidence = segmenter.scale_evidence(to_grey(one.image), one.inside)
            yield Field(one, evidence, jaccard(segmenter, one, one.pixel_size_um))


def rows_of(segmenter: PmfSegmenter, kind: str, fields: Sequence[Field]) -> Iterator[Row]:
    for held in by_setup(Setup.of(one.field.name, one.field.labels.shape) for one in fields):
        some = [fields[number] for number in held]
        first = some[0].field
        setup = Setup.of(first.name, first.labels.shape)
        pooled = estimate_scale([one.evidence for one in some])
        alone = [estimate_scale([one.evidence]).um for one in some]
        true = [one.field.pixel_size_um or 0.0 for one in some]
        yield Row(
            " ".join([kind, setup.magnification or "x".join(map(str, setup.shape))]),
            len(some),
            (min(true), max(true)),
            (min(alone), max(alone)),
            pooled,
            fmean(one.given for one in some),
            fmean(jaccard(segmenter, one.field, um) for one, um in zip(some, alone, strict=True)),
            fmean(jaccard(segmenter, one.field, pooled.um) for one in some),
        )


def table(rows: Sequence[Row]) -> str:
    total = sum(row.fields for row in rows)

    def over_all(name: str) -> float:
        return sum(getattr(row, name) * row.fields for row in rows) / total

    given, alone, together = map(over_all, ("given", "alone", "together"))
    lines = [
        "| pictures | fields | um/px | estimated, each alone | together | mean Jaccard, size given "
        "| each alone | together | difference |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row.text for row in rows),
        f"| all | {total} | | | | {given:.3f} | {alone:.3f} | {together:.3f} "
        f"| {together - given:+.3f} |",
    ]
    return "\n".join(lines) + "\n"


def _span(um: tuple[float, float]) -> str:
    low, high = um
    return f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.pixel_size", description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of the model; the starter by default")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--every", type=int, default=1, help="of each kind every N-th field")
    wanted = parser.parse_args()
    if not wanted.data.is_dir():
        raise SystemExit(f"{wanted.data} is not a folder; give the real fields with --data")
    segmenter = PmfSegmenter.load(wanted.model, threads=1)
    rows: list[Row] = []
    for kind in KINDS:
        fields = list(fields_of(segmenter, wanted.data, kind, max(1, wanted.every)))
        for row in rows_of(segmenter, kind, fields):
            sys.stderr.write(row.text + "\n")
            rows.append(row)
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()
