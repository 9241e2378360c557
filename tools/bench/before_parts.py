"""What `tools.bench.before` has each build do, in that build's own interpreter.

    PYTHONPATH=BUILD python tools/bench/before_parts.py PART FILE...

Prints one line of JSON. Knows where both builds keep what is called; nothing of `tools` is at hand.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

RUNS = 5


def either(name: str, *modules: str) -> Any:
    """What is called so in the first of these modules that this build has."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name}: in none of {', '.join(modules)}")


def loaded() -> Any:
    """The starter as the program itself loads it, on one thread."""
    load = either(
        "load_segmenter", "monitor.segmentation.measuring", "monitor.segmentation.segmenter"
    )
    if "runner" not in signature(load).parameters:
        return load("starter", 1)
    return load("starter", 1, os.environ.get("BENCH_RUNNER", "auto"))


def least_s(run: Callable[[], object]) -> float:
    """Processor time of a run, s: the least of some, after one that warms up."""
    seconds = []
    for _ in range(1 + RUNS):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return min(seconds[1:])


def network(picture: Path) -> dict[str, Any]:
    """The network alone, on a field of a megapixel, with what the layers saw."""
    import numpy as np
    import torch

    segmenter = loaded()
    image = torch.from_numpy(np.load(picture))[None, None]
    wants_seen = "seen" in signature(type(segmenter.network).forward).parameters

    def run() -> None:
        segmenter.network(image, [] if wants_seen else None) if wants_seen else segmenter.network(
            image
        )

    with torch.inference_mode():
        return {
            "seconds": least_s(run),
            "runner": getattr(segmenter, "runner", "torch float32"),
        }


def field(capture: Path) -> dict[str, Any]:
    """One capture, from its file to areas, label map and overlay; and the memory that it takes."""
    hash_file = either("hash_file", "monitor.capture.filesets", "monitor.capture.bundles")
    measure = either("measure", "monitor.segmentation.measuring", "monitor.segmentation.segmenter")
    request = import_module("monitor.segmentation.request").FieldRequest
    settings = import_module("monitor.config").SourceSettings
    named = import_module("monitor.culture").NamedParts
    segmenter = loaded()
    with tempfile.TemporaryDirectory(prefix="colonywatch-before-") as name:
        asked = request(
            capture,
            hash_file(capture),
            named("dish-01", "dish-time"),
            settings(),
            "0" * 64,
            Path(name),
        )
        seconds = least_s(lambda: measure(segmenter, asked))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak / 1024}


PARTS = {part.__name__: part for part in (network, field)}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*map(Path, sys.argv[2:]))))
