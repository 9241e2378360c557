"""Make the model that ships with the program, or measure a model as that one is measured.

python -m model.starter --out FOLDER --real DATA
python -m model.starter --measure FOLDER --real DATA [--all]
python -m model.starter --calibrate FOLDER --real DATA
python -m model.starter --failures FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import torch

from model.labelled_files import DataError
from model.manifest import ModelError
from model.pmf_segmenter import PmfSegmenter
from model.starter.doubting import calibrate
from model.starter.failures import PICTURE, show_failures
from model.starter.held_out import KINDS
from model.starter.measuring import FieldScore, as_text, scores_of, table_of
from model.starter.progress import say
from model.starter.recipe import make_starter
from model.starter.settings import STAGES
from model.starter.training_fields import simulated_fields


def main() -> None:
    """Command line of `python -m model.starter`."""
    wanted = _wanted()
    torch.set_num_threads(wanted.threads)
    cv2.setNumThreads(1)
    try:
        if wanted.draw:
            simulated_fields(wanted.fields, wanted.work, wanted.jobs)
            return
        if wanted.measure:
            _measure(wanted)
            return
        if wanted.calibrate:
            manifest = calibrate(wanted.calibrate, wanted.real)
            say(f"{wanted.calibrate}: {manifest.sha256[:12]}")
            return
        if wanted.failures:
            show_failures(wanted.failures)
            say(f"{wanted.failures / PICTURE}: drawn")
            return
        manifest = make_starter(
            wanted.out,
            stages=STAGES[-1:] if wanted.base else STAGES,
            real=wanted.real,
            work=wanted.work,
            count=wanted.fields,
            jobs=wanted.jobs,
            seed=wanted.seed,
            base=wanted.base,
        )
    except (DataError, ModelError) as error:
        say(str(error))
        raise SystemExit(1) from None
    say(f"{wanted.out}: {manifest.sha256[:12]} {manifest.scores}")


def _wanted() -> argparse.Namespace:
    """What was asked for; leaves with 2 where that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m model.starter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder for the new model")
    what.add_argument(
        "--draw", action="store_true", help="only draw the simulated fields into --work"
    )
    what.add_argument(
        "--measure", type=Path, metavar="FOLDER", help="measure the model there on the real fields"
    )
    what.add_argument(
        "--calibrate",
        type=Path,
        metavar="FOLDER",
        help="fit anew what tells how far the model there may be trusted",
    )
    what.add_argument(
        "--failures",
        type=Path,
        metavar="FOLDER",
        help="draw what the model there reads worst, for its card",
    )
    parser.add_argument("--all", action="store_true", help="measure on what was learnt from too")
    parser.add_argument(
        "--withheld", action="store_true", help="measure a second time without the pixel sizes"
    )
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS, help="measure on these")
    parser.add_argument("--each", action="store_true", help="tell of each field that is measured")
    parser.add_argument("--json", action="store_true", help="print the measures as JSON")
    parser.add_argument("--real", type=Path, help="folder of real fields; without it none")
    parser.add_argument("--work", type=Path, default=Path(".starter"), help="for resuming")
    parser.add_argument("--fields", type=int, default=5000, help="simulated fields to train on")
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--from",
        dest="base",
        type=Path,
        help="model to go on from, with the last stage of training alone",
    )
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    if wanted.measure and not (wanted.real and wanted.real.is_dir()):
        parser.error("no folder of real fields to measure on; name it with --real")
    if wanted.calibrate and wanted.real and not wanted.real.is_dir():
        parser.error(f"{wanted.real}: is not a folder; name one with --real, or leave it out")
    return wanted


def _measure(wanted: argparse.Namespace) -> None:
    """Raises DataError, ModelError."""
    scores = scores_of(
        PmfSegmenter.load(wanted.measure),
        wanted.real,
        every=wanted.all,
        withheld=wanted.withheld,
        kinds=wanted.kind,
        tell=_tell_field if wanted.each else lambda _: None,
    )
    if not scores:
        raise DataError(f"{wanted.real}: no real fields in it; see --real")
    table = table_of(scores)
    sys.stdout.write((json.dumps(table, indent=2) if wanted.json else as_text(table)) + "\n")


def _tell_field(one: FieldScore) -> None:
    found = "-" if one.fraction is None else f"{one.fraction:.3f}"
    true = "-" if one.true_fraction is None else f"{one.true_fraction:.3f}"
    size = f", {one.assumed_pixel_size_um:g} um/px" if one.assumed_pixel_size_um else ""
    say(
        f"{one.rows[-1]}: {one.name}: differentiated {found}, truth {true}; "
        f"cells found {one.recall:.3f}; mean Jaccard {one.confusion.mean_jaccard:.3f}{size}"
    )


if __name__ == "__main__":
    main()
