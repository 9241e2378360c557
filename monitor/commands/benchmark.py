"""`benchmark`: how fast and how accurate, beside the machine's limit and beside what others run."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Container, Mapping, Sequence
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

app = typer.Typer(no_args_is_help=True, help="Benchmarks: speed, accuracy.")


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
    """Time one field: the whole pipeline, the network alone, window by window, and the peers.

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
    table = Table("what", "seconds per megapixel", "times ours")
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
        f"matrix product's {found.gemm_gflops:.0f} ({found.gemm_by}); memory "
        f"{found.copy_gb_per_s:.0f} GB/s\n"
        f"dense pass: {found.windowwise_speedup:.1f} times window by window (in theory "
        f"{found.windowwise_theoretical:.0f}, by counted arithmetic "
        f"{found.windowwise_arithmetic:.0f}), largest difference {found.max_abs_difference:.1e}\n"
        f"outside the network: {100 * document['outside_network_share']:.0f} % of a field's time\n"
        f"peak memory {peak:.0f} MB, {found.threads} threads"
    )
    for name, why in found.skipped.items():
        say(f"{name}: {why}")


def _whole_way(side_px: int, rounds: int, threads: int | None) -> tuple[float, float]:
    """Median seconds from a file to areas, overlay and label map, and the network's share of it."""
    from model.pmf_segmenter import PmfSegmenter
    from model.simulation.fields import simulate_field
    from model.simulation.incubator import write_capture
    from monitor.capture.filesets import hash_file
    from monitor.segmentation.measuring import load_segmenter, measure
    from monitor.segmentation.request import FieldRequest

    segmenter = load_segmenter("starter", threads)
    assert isinstance(segmenter, PmfSegmenter)
    field = simulate_field(1, shape=(side_px, side_px), pixel_size_um=segmenter.um_per_pixel)
    began_at: list[float] = []
    inside: list[float] = []

    def begin(*_: object) -> None:
        began_at.append(time.perf_counter())

    def end(*_: object) -> None:
        inside.append(time.perf_counter() - began_at.pop())

    # Around the network alone: preparing and votes count as outside of it.
    segmenter.network.register_forward_pre_hook(begin)
    segmenter.network.register_forward_hook(end)
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
        whole, shares = [], []
        for _ in range(rounds + 1):
            inside.clear()
            began = time.perf_counter()
            measure(segmenter, request)
            whole.append(time.perf_counter() - began)
            shares.append(sum(inside) / whole[-1])
    return statistics.median(whole[1:]), statistics.median(shares[1:])


QUICK_SETS = ("glands", "textures", "spread_cells")
QUICK_ARMS = ("patch", "fcn", "pmf", "pyramid", "random-forest")
QUICK_CPU_S = 12.0


@app.command()
def accuracy(
    data: Annotated[
        Path,
        typer.Option(
            "--data", envvar="COLONYWATCH_DATA", help="Folder with the sets; see docs/accuracy.md."
        ),
    ] = Path("../shared/data"),
    work: Annotated[
        Path, typer.Option("--work", help="Folder for results, one file per run.")
    ] = Path("runs/accuracy"),
    report: Annotated[
        Path | None, typer.Option("--report", help="Write page, plots and JSON to this folder.")
    ] = None,
    sets: Annotated[str, typer.Option("--sets", help="Comma separated; usually all.")] = "",
    arms: Annotated[str, typer.Option("--arms", help="Comma separated; usually all.")] = "",
    images: Annotated[
        str, typer.Option("--images", help="Training images, comma separated; 0: all. Usually 10.")
    ] = "",
    windows_px: Annotated[
        str, typer.Option("--windows-px", help="Comma separated; usually 48,64,96.")
    ] = "",
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, max=100, help="Usually 3.")] = None,
    cpu_s: Annotated[
        float | None,
        typer.Option("--cpu-s", min=1, help="Processor time that each arm may learn for; 25."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A short form that ends within ten minutes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the pmf-CNN with its rivals on labelled sets; resumes where it was stopped.

    Without a choice of sets, arms, images, windows, seeds or time it runs what docs/accuracy.md
    describes, which takes hours; with one, every combination of what is chosen. Results of earlier
    runs in --work are kept and reported with the new ones.

    Example: colonywatch benchmark accuracy --quick
    """
    # Long by its options: Typer takes them from the signature.
    from model.comparison.report import page
    from model.comparison.runs import (
        ALL_ARMS,
        CPU_S,
        SEEDS,
        full_form,
        go_through,
        planned,
        read_results,
        unpack,
    )
    from model.comparison.sets import SETS

    begin_logging()
    workers = max(1, len(os.sched_getaffinity(0)))
    if quick or sets or arms or images or windows_px or seeds is not None or cpu_s is not None:
        runs = planned(
            chosen(sets, QUICK_SETS if quick else tuple(SETS), SETS, "set"),
            chosen(arms, QUICK_ARMS if quick else tuple(ALL_ARMS), ALL_ARMS, "arm"),
            images=numbers(images or "10", "--images", least=0),
            windows_px=numbers(
                windows_px or ("64" if quick else "48,64,96"), "--windows-px", least=40
            ),
            seeds=seeds or SEEDS,
            cpu_s=cpu_s or (QUICK_CPU_S if quick else CPU_S),
        )
    else:
        runs = full_form()
    if report is not None and (report / "accuracy.json").exists():
        unpack(report / "accuracy.json", work)
    missing = go_through(runs, data, work, workers=workers, tell=say)
    for what, why in missing.items():
        say(f"{what}: left out: {why}")
    results = read_results(work)
    if not results:
        say(f"nothing was measured; is {data} the folder with the sets?")
        raise typer.Exit(1)
    if as_json:
        print_json({"runs": len(results), "results": results, "left_out": missing})
    if report is not None:
        _write_report(report, results)
    elif not as_json:
        out.print(page(results), markup=False, soft_wrap=True)


def _write_report(report: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Page, plots and JSON into a folder."""
    from model.comparison import plots
    from model.comparison.outcomes import gather, gathered
    from model.comparison.report import page

    report.mkdir(parents=True, exist_ok=True)
    found = gather(results)
    pictures = report / "pictures"
    pictures.mkdir(exist_ok=True)
    drawn = {}
    for title, name, draw in (
        ("Mean Jaccard by window", "accuracy-windows.png", plots.draw_scores),
        ("Learnt from simulated fields", "accuracy-transfer.png", plots.draw_transfer),
        ("How far the pmf pyramid is ahead", "accuracy-ahead.png", plots.draw_ahead),
        ("Mean Jaccard by training images", "accuracy-images.png", plots.draw_images),
    ):
        draw(found, pictures / name)
        if (pictures / name).exists():
            drawn[title] = f"pictures/{name}"
    (report / "accuracy.md").write_text(page(results, drawn), encoding="utf-8")
    gathered(results, report / "accuracy.json")
    say(f"written: {report / 'accuracy.md'}")


def chosen(text: str, usual: Sequence[str], known: Container[str], what: str) -> list[str]:
    """Names from a comma separated option. Raises BadParameter for one that is not known."""
    names = [part.strip() for part in text.split(",") if part.strip()] or list(usual)
    for name in names:
        if name not in known:
            listed = ", ".join(known) if isinstance(known, Mapping) else str(known)
            raise typer.BadParameter(f"no {what} {name!r}; there are {listed}")
    return names


def numbers(text: str, option: str, *, least: int) -> list[int]:
    """Whole numbers from a comma separated option. Raises BadParameter for anything else."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{option} {text!r}: give whole numbers, 1,5,10") from error
    if min(found) < least:
        raise typer.BadParameter(f"{option} {text!r}: each must be at least {least}")
    return found
