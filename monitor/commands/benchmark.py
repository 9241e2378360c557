"""`benchmark`: how fast, beside the machine's limit and beside what others would run."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    open_config,
    out,
    print_json,
    say,
)
from monitor.config import SourceSettings
from monitor.culture import NamedParts

app = typer.Typer(no_args_is_help=True, help="Benchmarks: speed.")


@app.command()
def speed(
    side_px: Annotated[
        int, typer.Option("--side-px", min=256, max=4096, help="Side of the field.")
    ] = 1024,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=50)] = 5,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Time one field: the whole way, the network alone, window by window, and the peers.

    Peers that are not installed are left out with a message; `make bench` installs them.

    Example: colonywatch benchmark speed --json
    """
    from model.benchmark import network_speed, peak_rss_mb

    begin_logging()
    settings = open_config(config, state)
    whole, network_share = _whole_way(side_px, rounds, settings.compute.threads)
    peak = peak_rss_mb()
    found = network_speed(side_px=side_px, rounds=rounds)
    document: dict[str, Any] = {
        **asdict(found),
        "seconds_per_megapixel": whole / found.megapixels,
        "outside_network_share": 1 - network_share,
        "peak_rss_mb": peak,
    }
    if as_json:
        print_json(document)
        return
    table = Table("what", "seconds a megapixel", "times ours")
    rows = {
        "colonywatch, capture to overlay": document["seconds_per_megapixel"],
        "its network alone": document["network_seconds_per_megapixel"],
        "its network window by window": document["windowwise_seconds_per_megapixel"],
        **document["peers"],
    }
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.3f}", f"{seconds / document['seconds_per_megapixel']:.1f}")
    out.print(table)
    out.print(
        f"network: {found.network_gflops:.0f} GFLOP/s, {100 * found.roofline_fraction:.0f} % of a "
        f"matrix product's {found.gemm_gflops:.0f}\n"
        f"dense pass: {found.windowwise_speedup:.1f} times window by window (in theory "
        f"{found.windowwise_theoretical:.0f}), largest difference {found.max_abs_difference:.1e}\n"
        f"outside the network: {100 * document['outside_network_share']:.0f} % of a field's time\n"
        f"peak memory {peak:.0f} MB, {found.threads} threads"
    )
    for name, why in found.skipped.items():
        say(f"{name}: {why}")


def _whole_way(side_px: int, rounds: int, threads: int | None) -> tuple[float, float]:
    """Median seconds from a file to areas, overlay and label map, and the network's share of it."""
    from model.simulate import simulate_field, write_capture
    from monitor.segmentation.request import FieldRequest, hash_file
    from monitor.segmentation.segmenter import load_segmenter, measure

    segmenter = load_segmenter("starter", threads)
    field = simulate_field(1, shape=(side_px, side_px), pixel_size_um=segmenter.um_per_pixel)
    inside: list[float] = []
    inner = segmenter.probabilities

    def timed(flat: Any) -> Any:
        began = time.perf_counter()
        result = inner(flat)
        inside.append(time.perf_counter() - began)
        return result

    segmenter.probabilities = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory(prefix="colonywatch-bench-") as name:
        path = Path(name) / "dish-01_20260105T060000Z.ome.tif"
        write_capture(
            field,
            path,
            acquired_at=datetime(2026, 1, 5, 6, tzinfo=UTC),
            stage_x_um=0.0,
            stage_y_um=0.0,
            name="dish-01",
        )
        request = FieldRequest(
            path,
            hash_file(path),
            NamedParts("dish-01", "dish-time"),
            SourceSettings(),
            "0" * 64,
            Path(name),
        )
        whole = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            measure(segmenter, request)
            whole.append(time.perf_counter() - began)
    shares = [part / total for part, total in zip(inside, whole, strict=True)]
    return statistics.median(whole[1:]), statistics.median(shares[1:])
