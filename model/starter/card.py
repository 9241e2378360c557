"""The starter model's card: what it learnt from, how good it is, what it was never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from model.checkpoint import Manifest
from model.evaluate import Evaluation
from model.network import multiply_adds_per_pixel
from model.starter.failures import failure_section
from model.starter.measuring import as_text
from model.starter.settings import IPS_FIELDS_PIXEL_SIZE_UM, SPREAD_CELLS_PIXEL_SIZE_UM


def short(measured: Evaluation) -> dict[str, Any]:
    full = measured.to_json()
    keys = (
        "images",
        "mean_jaccard",
        "mean_jaccard_interval",
        "jaccard",
        "mean_fraction_error",
        "expected_calibration_error",
    )
    return {key: full[key] for key in keys}


def _simulated_rows(scores: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for kind, score in scores.items():
        if "jaccard" not in score:
            continue
        low, high = score["mean_jaccard_interval"]
        classes = ", ".join(
            f"{name} {'-' if value is None else format(value, '.3f')}"
            for name, value in score["jaccard"].items()
        )
        error = score["mean_fraction_error"]
        told = f"{error:.3f}" if error is not None else "-"
        rows.append(
            f"| {kind} | {score['images']} | {score['mean_jaccard']:.3f} ({low:.3f} to "
            f"{high:.3f}) | {classes} | {told} | {score['expected_calibration_error']:.3f} |"
        )
    return "\n".join(rows)


def _real_table(scores: Mapping[str, Any]) -> str:
    if not scores.get("real"):
        return "None were measured."
    return as_text(scores["real"])


def _stages(training: Mapping[str, Any]) -> Iterator[str]:
    """What was learnt, run by run, a line each."""
    before = training.get("begun_with")
    if before:
        past = before["training"]
        yield f"begun with the layers of the model `{before['sha256'][:12]}`, which learnt:"
        # Models from before there were stages say it of their one run.
        for stage in past.get("stages", [past]):
            yield _stage(stage, f" (simulation {past.get('simulation', 'not on record')})")
        yield "then:"
    else:
        yield "from random weights:"
    for stage in training["stages"]:
        yield _stage(stage, f" (simulation {training['simulation']})")


def _stage(stage: Mapping[str, Any], simulation: str) -> str:
    how = stage["settings"]
    learnt = "the cells that vote" if how.get("voters_only") else "all cells"
    shares = ", ".join(f"{kind} {share}" for kind, share in stage["shares"].items())
    return (
        f"{stage['steps']} steps of {how['batch']} crops of {how['crop_px']} pixels, "
        f"{learnt}{simulation}; shares of the crops: {shares}"
    )


def card(manifest: Manifest, drawn: int = 100) -> str:
    """The model card as Markdown. Long by its text.

    drawn : simulated fields among which those that are read worst are drawn
    """
    training = manifest.training
    config = manifest.network
    noise = manifest.scores["white noise"]
    stages = "\n".join(f"- {line}" for line in _stages(training))
    held = "\n".join(
        f"- {kind}: {', '.join(names)}" for kind, names in training["held_back"].items() if names
    )
    return f"""# Starter model

A pmf-CNN that tells background, undifferentiated and differentiated iPS cells apart in phase
contrast and brightfield images. It is a start: a lab's own 3 to 10 labelled fields make it much
better (fine-tuning), and nobody should decide about a dish by it alone before having measured it on
images of that microscope.

- Network: windows of {config.window_px} x {config.window_px} pixels at {manifest.um_per_pixel}
  um/px ({config.window_px * manifest.um_per_pixel:.0f} um), stride {config.stride_px}, grids
  {", ".join(str(r) for r in config.grids)} learnt, {", ".join(str(r) for r in config.voting_grids)}
  voting; {2e-3 * multiply_adds_per_pixel(config):.0f} GFLOP per megapixel at the working scale.
- Normalisation: {manifest.normalisation.name}; temperature {manifest.temperature}.
- Identity: the `sha256` in manifest.json, over the weights and all that gives them a meaning.

## What it learnt from

- {training["simulated_fields"]} simulated fields (`model.simulation`, seeds from
  {training["first_simulation_seed"]} on) with exact truth: phase contrast and brightfield, 0.6 to
  4.6 um/px.
- {training["empty_dishes"]} pictures of empty dishes: white noise at these scales and uneven light.
- hiPSC colonies in phase contrast (allen-cell-animated/cell-catalog; repository MIT), labels by
  local contrast, checked by eye: background and undifferentiated only; of unsure borders only that
  nothing there is differentiated.
- Healthy hiPSC one and three days after a passage, 4x and 10x, and whole 4x fields (same source),
  by drafted outlines that were looked at; debris and dead cells are not differentiated.
- Single spread cells in phase contrast (oist/Usiigaci; MIT), taken as a stand-in for
  differentiated cells, at {SPREAD_CELLS_PIXEL_SIZE_UM} um/px.
- A plate imager's brightfield fields and whole wells of hiPSC colonies
  (AllenInstitute/aics-automated-cell-culture-workflow; Allen Institute Software License), without
  labels: pseudo-labels made by a local-contrast threshold (`model.starter.local_contrast`).

How, seed {training["seed"]}, by `python -m model.starter --fields {training["simulated_fields"]}`:

{stages}

The odds of differentiated cells are multiplied by {training["odds_of_differentiated"]:g}: in the
crops they are rarer than undifferentiated ones. The factor was chosen by the healthy lines held
back below, whose fraction errors are therefore a little too good.

## How good it is

Real fields that it never learnt from, a row each kind of picture. Groups are lines, plates or
sequences, held out whole; 95 % intervals by drawing the groups anew. Jaccard index over pixels
pooled. Fraction error: mean absolute error of the differentiated fraction of an image; of healthy
cultures the true fraction is 0, over all of the picture. Cells found: share of the labelled cells
that are called cells.

{_real_table(manifest.scores)}

Simulated fields. ECE: expected calibration error.

| images | number | mean Jaccard | by class | fraction error | ECE |
|---|---|---|---|---|---|
{_simulated_rows(manifest.scores)}

The intervals are wide because a few of these fields are noise or cells from edge to edge, which
nothing tells apart.

Held back from training and used for these tables:

{held}

The fields of `ips_fields` (real iPS colonies with differentiated regions) were never trained on;
their labels are another network's and their pixel size is a guess
({IPS_FIELDS_PIXEL_SIZE_UM} um).

{failure_section(drawn)}
## Limits

- No real differentiated iPS cells were learnt from: what counts as differentiated comes from
  simulation and from other spread cells. Expect it to miss kinds that look like neither.
- Contrast is scaled by that of the image itself: in an empty dish grain is all there is to see.
  Of {noise["pictures"]} pictures of white noise the median had {noise["called_cells_median"]:.1%}
  called cells, the worst {noise["called_cells_worst"]:.0%}; grain as coarse as cells is called
  cells.
- The dark wall of a round well may be called cells: leave a strip of 100 um along it outside.
- Very dense differentiated sheets and colonies out of focus are often taken for each other.
- Compact floating pieces with a bright border may be called undifferentiated, and so may
  differentiated sheets under a carpet of dead cells. In strong grain or below 0.7 um/px outlines
  are lost.
- Of regions that differentiate early, inside compact colonies, a part is missed.
- A day after a passage thin single cells are missed, at 4x a third of what outlines hold, at 10x a
  sixth, and some are called differentiated; a dish that is told as passaged is judged after two
  days only.
- Feeder cells were never learnt from and are called differentiated; see the setting `feeder_layer`.
- Made for 0.6 to 4.6 um/px. With an unknown pixel size one is assumed, and the result says so.
- Not a medical device.
"""
