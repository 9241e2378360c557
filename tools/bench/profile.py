"""Where the processor's time goes between a capture's file and what is on record of it.

    python -m tools.bench.profile
    python -m tools.bench.profile --side 96 --captures 60 --lines 40

Measures simulated captures as the worker does, on one thread: first without a profile, so that the
time of a capture and the network's share of it are right; then with one, which counts processor
time, so that other work on the machine does not show. What runs beside (drawing, writing) is
in the first figure alone.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import cv2

from monitor.capture.filesets import hash_file
from monitor.config import SourceSettings
from monitor.culture import NamedParts
from monitor.segmentation.measuring import load_segmenter, measure
from monitor.segmentation.request import FieldRequest
from tools.bench.daemon import LARGE_PX, PIXEL_SIZE_UM, pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=LARGE_PX, help="pixels a side of a capture")
    parser.add_argument("--captures", type=int, default=6)
    parser.add_argument("--lines", type=int, default=60, help="functions that are listed")
    parser.add_argument("--by", default="cumulative", choices=["cumulative", "tottime"])
    options = parser.parse_args()
    if options.captures < 1 or not 32 <= options.side <= LARGE_PX:
        parser.error(f"--captures is 1 or more, --side 32 to {LARGE_PX}")
    cv2.setNumThreads(1)
    segmenter = load_segmenter("starter", 1)
    with tempfile.TemporaryDirectory(prefix="colonywatch-profile-") as name:
        requests = list(_requests(Path(name), options.side, options.captures))
        measure(segmenter, requests[0])
        in_network: list[float] = []
        hooks = [
            segmenter.network.register_forward_pre_hook(
                lambda *_: in_network.append(-time.process_time())
            ),
            segmenter.network.register_forward_hook(
                lambda *_: in_network.append(time.process_time())
            ),
        ]
        began = time.process_time()
        for request in requests:
            measure(segmenter, request)
        each_ms = 1000 * (time.process_time() - began) / len(requests)
        for hook in hooks:
            hook.remove()
        network_ms = 1000 * sum(in_network) / len(requests)
        print(
            f"{options.side} x {options.side} pixels: {each_ms:.1f} ms of processor time each, "
            f"of which the network {network_ms:.1f}"
        )
        profile = cProfile.Profile(time.thread_time)
        for request in requests:
            profile.runcall(measure, segmenter, request)
    pstats.Stats(profile).sort_stats(options.by).print_stats(options.lines)


def _requests(folder: Path, side: int, captures: int) -> list[FieldRequest]:
    found = []
    for number, content in enumerate(pictures(side, captures)):
        path = folder / f"{number}.png"
        path.write_bytes(content)
        named = NamedParts(f"dish-{number}", "dish-time")
        settings = SourceSettings(pixel_size_um=PIXEL_SIZE_UM)
        found.append(
            FieldRequest(path, hash_file(path), named, settings, "0" * 64, folder / "state")
        )
    return found


if __name__ == "__main__":
    main()
