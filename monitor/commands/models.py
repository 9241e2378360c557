"""`train`, `evaluate`, `models`: fine-tune a model, measure one, look at one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    open_config,
    out,
    percent,
    print_json,
    say,
    show_table,
)
from monitor.config import Config
from monitor.errors import ModelRefusedError, MonitorError

if TYPE_CHECKING:
    from model.train import Progress

app = typer.Typer(no_args_is_help=True, help="Models: list, show, verify.")

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="FOLDER", readable=False, help="A model; default: the configured one."
    ),
]


def train(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", readable=False, help="Folder with images/ and labels/."),
    ],
    target: Annotated[Path, typer.Option("--out", metavar="MODEL", help="Folder to write.")],
    base: Annotated[
        Path | None,
        typer.Option("--from", metavar="MODEL", help="Start here; default: the configured one."),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, max=24 * 60)] = 10.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Fine-tune the model on labelled fields of your own (3 to 10 are enough to begin).

    Example: colonywatch train my-fields --out models/line-7 --minutes 10
    """
    from model.checkpoint import ModelError
    from model.dataset import DataError
    from model.train import train as train_model

    begin_logging()
    configured = open_config(config, state).segmentation.model
    if base is None and configured != "starter":
        base = Path(configured)

    def show(progress: Progress) -> None:
        score = "" if progress.score is None else f", held-out Jaccard {progress.score:.3f}"
        say(
            f"step {progress.step} of {progress.steps}, {progress.elapsed_s:.0f} s, "
            f"loss {progress.loss:.4f}{score}"
        )

    try:
        manifest = train_model(data, target, base=base, minutes=minutes, seed=seed, progress=show)
    except ModelError as problem:
        raise ModelRefusedError(str(problem)) from problem
    except DataError as problem:
        raise MonitorError(str(problem)) from problem
    say(f"model {manifest.name} written to {target}; use it with segmentation.model: {target}")


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", readable=False, help="Folder with images/ and labels/."),
    ],
    model: ModelOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Measure a model on labelled fields.

    Example: colonywatch evaluate my-fields --model models/line-7
    """
    from model.dataset import DataError
    from model.evaluate import evaluate_folder
    from monitor.segmentation.segmenter import load_segmenter

    begin_logging()
    settings = open_config(config, state)
    segmenter = load_segmenter(_folder(model, settings), settings.compute.threads)
    try:
        document = evaluate_folder(segmenter, data).to_json()
    except DataError as problem:
        raise MonitorError(str(problem)) from problem
    if as_json:
        print_json(document)
        return
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
    out.print(
        f"{document['images']} images; mean Jaccard {document['mean_jaccard']} (95 % interval "
        f"{low} to {high}); mean error of the differentiated fraction "
        f"{percent(document['mean_fraction_error'])}; expected calibration error "
        f"{document['expected_calibration_error']}"
    )


@app.command("list")
def list_(
    as_json: JsonOption = False, config: ConfigOption = None, state: StateOption = None
) -> None:
    """The models at hand: the starter and the configured one.

    Example: colonywatch models list
    """
    from model.predict import STARTER

    begin_logging()
    settings = open_config(config, state)
    folders = {"starter": STARTER}
    if settings.segmentation.model != "starter":
        folders["configured"] = Path(settings.segmentation.model)
    rows = [{"which": which, **_manifest(folder)} for which, folder in folders.items()]
    if as_json:
        print_json(rows)
        return
    table = Table("which", "name", "sha256", "um a pixel", "folder")
    for row in rows:
        table.add_row(
            row["which"], row["name"], row["sha256"][:12], str(row["um_per_pixel"]), row["folder"]
        )
    show_table(table)


@app.command()
def show(model: ModelOption = None, config: ConfigOption = None, state: StateOption = None) -> None:
    """The model's card: data, training, accuracy, limits.

    Example: colonywatch models show
    """
    from model.checkpoint import CARD
    from model.predict import STARTER

    begin_logging()
    name = _folder(model, open_config(config, state))
    card = (STARTER if name == "starter" else Path(name)) / CARD
    try:
        typer.echo(card.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ModelRefusedError(f"{card}: cannot be read ({problem.strerror})") from problem


@app.command()
def verify(
    model: ModelOption = None, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Check a model's hash, classes and canary picture.

    Example: colonywatch models verify --model models/line-7
    """
    from monitor.segmentation.segmenter import load_segmenter

    begin_logging()
    settings = open_config(config, state)
    segmenter = load_segmenter(_folder(model, settings), settings.compute.threads)
    say(f"{segmenter.name} {segmenter.sha256}: hash, classes and canary as promised")


def _folder(model: Path | None, config: Config) -> str:
    return config.segmentation.model if model is None else str(model)


def _manifest(folder: Path) -> dict[str, str]:
    from model.checkpoint import ModelError, read_manifest

    try:
        manifest = read_manifest(folder)
    except ModelError as problem:
        raise ModelRefusedError(str(problem)) from problem
    return {
        "name": manifest.name,
        "sha256": manifest.sha256,
        "um_per_pixel": str(manifest.um_per_pixel),
        "folder": str(folder),
    }
