"""`models`: list, show and verify models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    open_config,
    print_json,
    say,
    show_table,
)
from monitor.config import Config
from monitor.errors import ModelRefusedError

app = typer.Typer(no_args_is_help=True, help="Models: list, show, verify.")

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="FOLDER", readable=False, help="A model; default: the configured one."
    ),
]


@app.command("list")
def list_(
    as_json: JsonOption = False, config: ConfigOption = None, state: StateOption = None
) -> None:
    """The available models: the starter and the configured one.

    Example: colonywatch models list
    """
    from model.predict import STARTER

    begin_logging()
    settings = open_config(config, state)
    folders = {"starter": STARTER}
    if settings.segmentation.model != "starter":
        folders["configured"] = Path(settings.segmentation.model)
    rows = [{"which": which, **_summary(folder)} for which, folder in folders.items()]
    if as_json:
        print_json(rows)
        return
    table = Table("which", "name", "sha256", "um/px", "folder")
    for row in rows:
        table.add_row(
            row["which"], row["name"], row["sha256"][:12], row["um_per_pixel"], row["folder"]
        )
    show_table(table)


@app.command()
def show(model: ModelOption = None, config: ConfigOption = None, state: StateOption = None) -> None:
    """The model's card: data, training, accuracy, limits.

    Example: colonywatch models show
    """
    from model.bounded_files import text_of
    from model.manifest import CARD, LARGEST_CARD_BYTES
    from model.predict import STARTER

    begin_logging()
    name = _folder(model, open_config(config, state))
    card = (STARTER if name == "starter" else Path(name)) / CARD
    try:
        typer.echo(text_of(card, LARGEST_CARD_BYTES))
    except OSError as problem:
        raise ModelRefusedError(f"{card}: cannot be read ({problem.strerror})") from problem
    except ValueError as problem:
        raise ModelRefusedError(f"{card}: is no card of a model ({problem})") from problem


@app.command()
def verify(
    model: ModelOption = None, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Check a model's hash, classes and canary image.

    Example: colonywatch models verify --model models/line-7
    """
    from monitor.segmentation.measuring import load_segmenter

    begin_logging()
    settings = open_config(config, state)
    segmenter = load_segmenter(_folder(model, settings), settings.compute.threads)
    say(f"{segmenter.name} {segmenter.sha256}: hash, classes and canary are correct")


def _folder(model: Path | None, config: Config) -> str:
    return config.segmentation.model if model is None else str(model)


def _summary(folder: Path) -> dict[str, str]:
    from model.predict import ModelError, summary_of

    try:
        found = summary_of(folder)
    except ModelError as problem:
        raise ModelRefusedError(str(problem)) from problem
    return {
        "name": found.name,
        "sha256": found.sha256,
        "um_per_pixel": "" if found.um_per_pixel is None else str(found.um_per_pixel),
        "folder": str(folder),
    }
