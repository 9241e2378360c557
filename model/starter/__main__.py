"""`python -m model.starter`: make the model that ships with the program."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import torch

from model.labelled_files import DataError
from model.manifest import ModelError
from model.starter.progress import say
from model.starter.recipe import make_starter


def main() -> None:
    """Command line of `python -m model.starter`."""
    parser = argparse.ArgumentParser(prog="python -m model.starter", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, help="instead of --minutes, to repeat a run exactly")
    parser.add_argument("--real", type=Path, help="folder of real fields; without it none")
    parser.add_argument("--work", type=Path, default=Path(".starter"), help="for resuming")
    parser.add_argument("--fields", type=int, default=2000, help="simulated fields to train on")
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--from", dest="base", type=Path, help="model to take layers from")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    cv2.setNumThreads(1)
    try:
        manifest = make_starter(
            wanted.out,
            minutes=wanted.minutes,
            steps=wanted.steps,
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


if __name__ == "__main__":
    main()
