"""`train` and `evaluate`: a model made better on a lab's own labelled fields, and measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    err,
    open_config,
    out,
    percent,
    print_json,
    say,
    say_error,
    show_table,
    shown,
)
from monitor.commands.labelled_fields import guarding_fields, labelled_fields
from monitor.commands.labelled_fields import second_rater as labels_of_second
from monitor.errors import ModelRefusedError, MonitorError, UsageError
from monitor.segmentation.overlay import draw_overlay, encode_jpeg, field_of_view

if TYPE_CHECKING:
    from model.dataset import LabelledImage
    from model.evaluate import FieldScore
    from model.predict import Segmentation
    from model.tuning.settings import TuningProgress
    from monitor.outlets.figures.evaluation import FieldImages

PICTURE_SIDE_PX = 560

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", readable=False, help="Folder with images/ and labels/.")
]
PixelSizeOption = Annotated[
    float | None,
    typer.Option(
        "--pixel-size-um",
        metavar="X",
        min=0.01,
        max=100,
        help="Of images whose files, names and pixel_size_um.csv do not say it.",
    ),
]
SureOption = Annotated[
    bool,
    typer.Option("--labels-are-right", help="The labels are right, however strange they look."),
]


def train(
    data: DataArgument,
    target: Annotated[
        Path, typer.Option("--out", metavar="MODEL", readable=False, help="Folder to write.")
    ],
    base: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            readable=False,
            help="Start here; default: the configured one.",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.05, max=24 * 60, help="At most this long.")
    ] = 10.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same model.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, max=100_000, help="Of each turn, instead of --minutes: repeatable."
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Learn the last layer alone: an answer in seconds, also from a few strokes.",
        ),
    ] = False,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--guard",
            metavar="FOLDER",
            readable=False,
            help="Labelled fields of other kinds, not learnt from, that must not come out worse; "
            "beside simulated ones. May be repeated.",
        ),
    ] = None,
    pixel_size_um: PixelSizeOption = None,
    sure: SureOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Fine-tune the model on labelled fields of your own (3 to 10 are enough to begin).

    Labels are index maps (0 background, 1 undifferentiated, 2 differentiated, 255 unknown), QuPath
    GeoJSON or labelme JSON. What is 255 is not said: a few strokes in each class are enough for
    --quick, whose model is as fast as the one begun with. A run that was stopped resumes when it is
    started again. If learning did not help on what was held out, or harmed other kinds of images,
    nothing is written, and the exit code is 1.

    Example: colonywatch train my-fields --out models/line-7 --minutes 10
    """
    # Long by its options and its errors: Typer takes the ones from the signature.
    from model.finetune import guarded_kinds
    from model.finetune import train as fine_tune
    from model.labelled_files import DataError
    from model.manifest import ModelError
    from model.tuning.settings import NoGainError

    begin_logging()
    settings = open_config(config, state)
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; --out needs a folder")
    configured = settings.segmentation.model
    if base is None and configured != "starter":
        base = Path(configured)
    images = labelled_fields(data, settings, pixel_size_um, least_classes=2, sure=sure)
    guards = guarding_fields(others or [], settings)
    try:
        with _progress() as show:
            manifest = fine_tune(
                images,
                target,
                base=base,
                minutes=minutes,
                steps=steps,
                seed=seed,
                threads=settings.compute.threads,
                quick=quick,
                progress=show,
                kinds=lambda: {**guarded_kinds(quick=quick), **guards},
            )
    except NoGainError as problem:
        if as_json:
            scores = {"held out in turns": problem.scores}
            document = {"model": None, "helped": False, "from": problem.training["from"]}
            document |= {"training": problem.training, "scores": scores, "harmed": problem.harmed}
            print_json(document | {"error": str(problem), "exit_code": 1})
            say_error(str(problem))
            raise typer.Exit(1) from problem
        _tell_scores(problem.scores, helped=False)
        raise MonitorError(str(problem)) from problem
    except ModelError as problem:
        raise ModelRefusedError(str(problem)) from problem
    except DataError as problem:
        raise MonitorError(str(problem)) from problem
    except OSError as problem:
        raise MonitorError(
            f"{target}: cannot be written ({problem.strerror}); choose another folder with --out, "
            "or make room"
        ) from problem
    document = {"model": shown(target), "helped": True, **manifest.to_json()}
    if as_json:
        print_json(document)
        return
    _tell_scores(manifest.scores.get("held out in turns"))
    _tell_kinds(manifest.scores.get("other kinds", {}))
    for share, harmed in manifest.training["kinds_harmed_by_share_of_new_weights"].items():
        say(f"{float(share):.0%} of the new weights was not taken: worse on {'; '.join(harmed)}")
    say(
        f"model {manifest.name} {manifest.sha256[:12]} written to {target}, its card beside it. "
        f"Use it with segmentation.model: {target}; measure it first on fields that were not used "
        "here (colonywatch evaluate)."
    )


def _tell_scores(scores: Any, *, helped: bool = True) -> None:
    if not scores:
        say(
            "the images are too few and too small to hold any part out: how good it is, is not "
            "known"
        )
        return
    table = Table("on what was held out", "mean Jaccard", *scores["jaccard"], "fraction error")
    by_share = scores["mean_jaccard_by_share_of_new_weights"]
    kept = [("before", scores["before"]), *([("fine-tuned", scores)] if helped else [])]
    for name, one in kept:
        values = [one["mean_jaccard"], *one["jaccard"].values(), one["mean_fraction_error"]]
        table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in values))
    show_table(table)
    told = ", ".join(f"{float(share):.0%} {score:.3f}" for share, score in by_share.items())
    say(f"mean Jaccard by the share of new weights mixed in: {told}")


def _tell_kinds(kinds: Mapping[str, Any]) -> None:
    if not kinds:
        return
    table = Table("other kinds, not learnt from", "fields", "mean Jaccard", "fraction error")
    for name, one in kinds.items():
        changes = (
            " to ".join(
                "–" if one[f"{measure}{when}"] is None else f"{one[f'{measure}{when}']:.3f}"
                for when in ("_before", "")
            )
            for measure in ("mean_jaccard", "mean_fraction_error")
        )
        table.add_row(name, str(one["fields"]), *changes)
    show_table(table)


def evaluate(
    data: DataArgument,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="FOLDER",
            readable=False,
            help="A model; default: the configured one.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            readable=False,
            help="Write report.html (with images), report.json and fields.csv there.",
        ),
    ] = None,
    second_rater: Annotated[
        Path | None,
        typer.Option(
            "--second-rater",
            metavar="FOLDER",
            readable=False,
            help="Another person's labels of the same images; default: DATA/labels_2 if it exists.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            metavar="MODEL",
            readable=False,
            help="Another model (or starter) to compare with, image by image.",
        ),
    ] = None,
    pixel_size_um: PixelSizeOption = None,
    sure: SureOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Measure a model on labelled fields, and write a report.

    Labels of a second person tell how far a model can be measured at all: their agreement is
    reported beside the model's.

    Example: colonywatch evaluate my-fields --model models/line-7 --compare starter --out report
    """
    # Long by its options: Typer takes them from the signature.
    from model.evaluate import evaluate as measure
    from monitor.outlets.figures.evaluation import write_report
    from monitor.segmentation.measuring import load_segmenter

    begin_logging()
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; --out needs a folder")
    settings = open_config(config, state)
    chosen = settings.segmentation.model if model is None else str(model)
    segmenter = load_segmenter(chosen, settings.compute.threads)
    other = None
    if compare is not None:
        other = load_segmenter(str(compare), settings.compute.threads)
    images = labelled_fields(data, settings, pixel_size_um, least_classes=1, sure=sure)
    second = labels_of_second(data, second_rater, settings, images, sure=sure)
    pictures: dict[str, FieldImages] = {}

    def keep(one: LabelledImage, found: Segmentation, score: FieldScore) -> None:
        say(f"{one.name}: {_told_of(score)}")
        if folder is not None:
            pictures[one.name] = _pictures(one, found)

    measured = measure(segmenter, images, keep, second_rater=second)
    document = measured.to_json(None if other is None else measure(other, images))
    if folder is not None:
        try:
            page = write_report(folder, document, pictures)
        except OSError as problem:
            raise MonitorError(
                f"{folder}: cannot be written to ({problem.strerror}); choose another with --out"
            ) from problem
        say(f"report: {page}")
    if as_json:
        print_json(document)
        return
    _show_scores(document)


def _told_of(score: FieldScore) -> str:
    if score.confusion.counts.any() or score.true_fraction is None:
        return f"{percent(score.pixel_error)} of the known pixels wrong"
    return f"differentiated {percent(score.found_fraction)}, by its label nothing is"


def _show_scores(document: Mapping[str, Any]) -> None:
    from monitor.outlets.figures.raters import PAIRS, comparison_in_words, raters_in_words

    low, high = document["mean_jaccard_interval"]
    table = Table("class", "Jaccard", "Dice", "precision", "recall")
    for name in document["jaccard"]:
        table.add_row(
            name,
            *(
                "–" if document[measure][name] is None else f"{document[measure][name]:.3f}"
                for measure in ("jaccard", "dice", "precision", "recall")
            ),
        )
    show_table(table)
    fraction = "mean error of the differentiated fraction " + percent(
        document["mean_fraction_error"]
    )
    if document["mean_jaccard"] is None:
        out.print(f"{document['images']} images, no pixel of a known class; {fraction}")
    else:
        out.print(
            f"{document['images']} images; mean Jaccard {document['mean_jaccard']} (95 % interval "
            f"{low} to {high}); {fraction}; expected calibration error "
            f"{document['expected_calibration_error']}"
        )
    for line in comparison_in_words(document):
        out.print(line)
    if document["raters"] is None:
        return
    table = Table("over the same pixels", "mean Jaccard", *document["jaccard"], "Cohen's kappa")
    for pair, words in PAIRS.items():
        one = document["raters"][pair]
        values = [one["mean_jaccard"], *one["jaccard"].values(), one["kappa"]]
        table.add_row(words, *("–" if value is None else f"{value:.3f}" for value in values))
    show_table(table)
    for line in raters_in_words(document):
        out.print(line)


def _pictures(one: LabelledImage, found: Segmentation) -> FieldImages:
    from model.classes import UNKNOWN, has_class
    from monitor.outlets.figures.evaluation import FieldImages, draw_differences

    size = found.pixel_size_um or found.assumed_pixel_size_um
    drawn = [
        draw_overlay(
            one.image,
            labels,
            pixel_size_um=size,
            max_side=PICTURE_SIDE_PX,
            assumed=found.pixel_size_um is None,
        )
        for labels in (np.where(has_class(one.labels), one.labels, UNKNOWN), found.labels)
    ]
    bare = field_of_view(
        draw_overlay(
            one.image,
            np.zeros_like(one.labels),
            pixel_size_um=size,
            title=" ",
            max_side=PICTURE_SIDE_PX,
        ),
        one.labels.shape,
    )
    wrong = draw_differences(bare, one.labels, found.labels)
    return FieldImages(*(encode_jpeg(picture, quality=80) for picture in (*drawn, wrong)))


# ------------------------------------------------------------------------------------- parts


@contextmanager
def _progress() -> Iterator[Callable[[TuningProgress], None]]:
    """Shows how far fine-tuning is: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[scores]}"),
        console=err,
    ) as bar:
        task = bar.add_task("preparing", total=None, scores="")

        def show(now: TuningProgress) -> None:
            bar.update(
                task,
                description=now.doing,
                completed=now.steps_done,
                total=now.steps_in_all or None,
                scores=_scores(now),
            )

        yield show


LINES_EVERY_S = 15.0


def _lines() -> Callable[[TuningProgress], None]:
    last = (-LINES_EVERY_S, "")

    def show(now: TuningProgress) -> None:
        nonlocal last
        if now.doing == last[1] and now.elapsed_s - last[0] < LINES_EVERY_S:
            return
        last = (now.elapsed_s, now.doing)
        steps = f", step {now.steps_done} of {now.steps_in_all}" if now.steps_in_all else ""
        told = _scores(now)
        say(f"{now.doing}{steps}, {now.elapsed_s:.0f} s{', ' if told else ''}{told}")

    return show


def _scores(now: TuningProgress) -> str:
    told = [] if now.loss != now.loss else [f"loss {now.loss:.3f}"]
    if now.score is not None and now.score_before is not None:
        told.append(f"held out {now.score:.3f} (before {now.score_before:.3f})")
    return ", ".join(told)
