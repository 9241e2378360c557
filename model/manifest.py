"""What the folder of a model holds, whatever kind of network it is.

    manifest.json   `kind`, and what that kind says of itself: sizes, classes, hash, ...
    card.md         what a person should know before trusting it

and the numbers, in files that the kind knows. A manifest may say anything: it is read with limits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model.bounded_files import text_of

MANIFEST: Final = "manifest.json"
CARD: Final = "card.md"
LARGEST_MANIFEST_BYTES: Final = 8 << 20
LARGEST_CARD_BYTES: Final = 1 << 20
PMF_CNN: Final = "pmf-cnn"
"""The kind of models whose manifest names none."""


class ModelError(Exception):
    """A model that cannot be used: the text says what, which model, what now."""


@dataclass(frozen=True)
class ModelSummary:
    """Name and identity of a model; um_per_pixel : that it works at, None where it has no scale."""

    name: str
    sha256: str
    um_per_pixel: float | None


def kind_of(folder: Path, values: Mapping[str, Any]) -> str:
    """The kind of network that a manifest names.

    values : as `read_json` gives them
    Raises ModelError where it is no name.
    """
    kind = values.get("kind", PMF_CNN)
    if not isinstance(kind, str) or not 0 < len(kind) <= 40 or not kind.isprintable():
        raise ModelError(
            f"{folder / MANIFEST}: its kind is {repr(kind)[:60]}, which is not the name of a kind "
            "of network; copy the model folder again from its source"
        )
    return kind


def read_json(folder: Path) -> dict[str, Any]:
    """The manifest of a model as plain values. Raises ModelError where it is missing or none."""
    try:
        path = folder / MANIFEST
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: is not a file; give the folder of a model")
        if path.stat().st_size > LARGEST_MANIFEST_BYTES:
            raise ModelError(
                f"{path}: has {path.stat().st_size:,} bytes, far more than any manifest; copy "
                "the model folder again from its source"
            )
        values = json.loads(text_of(path, LARGEST_MANIFEST_BYTES))
    except OSError as error:
        raise ModelError(
            f"{folder / MANIFEST}: cannot be read ({error.strerror}); "
            "give the folder of a model (weights.safetensors, manifest.json, card.md)"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{folder / MANIFEST}: not a JSON text; copy the model folder again from its source"
        ) from error
    if not isinstance(values, dict):
        raise ModelError(f"{folder / MANIFEST}: not a manifest; give the folder of a model")
    return values
