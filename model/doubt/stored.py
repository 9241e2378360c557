"""What tells doubt, as part of a model's folder: vectors in a file, numbers in the manifest.

Both may say anything: they are read with limits, before anything is computed by them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from model.bounded_files import bytes_of
from model.doubt.bank import Bank, Family
from model.doubt.judge import Hardness, Judge, KindFacts, number, whole

DOUBT: Final = "doubt.safetensors"
LARGEST_BYTES: Final = 32 << 20
MOST_KINDS: Final = 100
MOST_FAMILIES: Final = 10
MOST_ROWS: Final = 4000
FAMILY_LIMITS: Final = ("near", "left", "mixture", "entropy")


def packed(judge: Judge) -> tuple[bytes, dict[str, Any]]:
    """The file's content, and what stands in the manifest."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for place, family in enumerate(judge.bank.families):
        arrays[f"vectors-{place}"] = np.ascontiguousarray(family.vectors)
        arrays[f"kinds-{place}"] = np.ascontiguousarray(family.kinds)
    content = save_arrays(arrays)
    return content, {
        "sha256": hashlib.sha256(content).hexdigest(),
        "neighbours": judge.bank.neighbours,
        "families": [
            {key: getattr(one, key) for key in FAMILY_LIMITS} for one in judge.bank.families
        ],
        "kinds": [kind.to_json() for kind in judge.kinds],
        "hardness": judge.hardness.to_json(),
    }


def judge_of(values: Mapping[str, Any], path: Path, length: int) -> Judge:
    """What `packed` gave, checked.

    length : of the vectors that this network gives
    Raises OSError where the file cannot be read, ValueError where it is not what it should be.
    """
    content = bytes_of(path, LARGEST_BYTES)
    if hashlib.sha256(content).hexdigest() != values.get("sha256"):
        raise ValueError("its hash is another: damaged, or of another model")
    try:
        arrays = load_arrays(content)
        if not 0 < len(values["kinds"]) <= MOST_KINDS:
            raise ValueError(f"{len(values['kinds'])} kinds of images")
        if not 0 < len(values["families"]) <= MOST_FAMILIES:
            raise ValueError(f"{len(values['families'])} families of kinds")
        kinds = tuple(KindFacts.from_json(one) for one in values["kinds"])
        families = [
            _family(arrays, place, one, kinds, length)
            for place, one in enumerate(values["families"])
        ]
        neighbours = whole(values["neighbours"])
        hardness = Hardness.from_json(values["hardness"])
    except (SafetensorError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"not complete: {str(problem)[:80]}") from problem
    if not neighbours:
        raise ValueError("no neighbour is asked for")
    return Judge(Bank(families, neighbours), kinds, hardness)


def _family(
    arrays: Mapping[str, np.ndarray[Any, Any]],
    place: int,
    values: Mapping[str, Any],
    kinds: tuple[KindFacts, ...],
    length: int,
) -> Family:
    vectors, numbers = arrays[f"vectors-{place}"], arrays[f"kinds-{place}"]
    if vectors.dtype != np.float16 or vectors.ndim != 2 or vectors.shape[1] != length:
        raise ValueError(f"vectors of shape {vectors.shape}; this network's have {length} numbers")
    if not 0 < len(vectors) <= MOST_ROWS:
        raise ValueError(f"{len(vectors):,} vectors")
    if numbers.dtype != np.int16 or numbers.shape != (len(vectors),):
        raise ValueError(f"{len(vectors)} vectors, kinds of shape {numbers.shape}")
    if not 0 <= int(numbers.min()) <= int(numbers.max()) < len(kinds):
        raise ValueError("a vector is of a kind that is not named")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector holds what is not a number")
    return Family(vectors, numbers, **{key: number(values[key]) for key in FAMILY_LIMITS})
