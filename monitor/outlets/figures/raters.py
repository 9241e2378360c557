"""Two raters beside a model, and a model beside another: in sentences and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

PAIRS = {
    "between_raters": "rater and rater",
    "model_and_first": "model and first rater",
    "model_and_second": "model and second rater",
}
_COLOURS = {
    "between_raters": "#1f2937",
    "model_and_first": "#0072b2",
    "model_and_second": "#cc79a7",
}


def raters_in_words(document: Mapping[str, Any]) -> list[str]:
    """What two raters' labels say of the model, and of how far it can be measured at all.

    document : JSON form of `model.evaluate.Evaluation`; nothing where nobody else rated
    """
    found = document.get("raters")
    if found is None:
        return []
    between = found["between_raters"]
    images, all_images = found["images"], document["images"]
    of = f"{images} of these {all_images} images" if images < all_images else "these images"
    if all_images == 1:
        of = "this image"
    if between["mean_jaccard"] is None:
        return [f"Two raters labelled {of}, but no pixel has a class by both."]
    told = [
        f"Two raters labelled {of}. What the one outlines and what the other outlines share "
        f"{between['mean_jaccard']:.0%} of their joint area (mean Jaccard of the classes"
        f"{_spread(between['mean_jaccard_interval'])}); Cohen's kappa "
        f"{_number(between['kappa'])}.",
        f"The model shares {found['model_and_first']['mean_jaccard']:.0%} with the first and "
        f"{found['model_and_second']['mean_jaccard']:.0%} with the second, over the same pixels. "
        + _verdict(found),
    ]
    apart = [found[pair]["mean_fraction_difference"] for pair in PAIRS]
    if apart[0] is not None:
        raters, first, second = (100 * value for value in apart)
        told.append(
            f"The raters' differentiated shares of an image are {raters:.1f} percentage points "
            f"apart on average, the model's {first:.1f} from the first and {second:.1f} from the "
            "second: no limit for alerts can be sharper than people are."
        )
    if _same(between["confusion"]):
        told.append(
            "The two raters' labels are the same in every pixel: is one a copy of the other?"
        )
    return told


def _same(counts: Sequence[Sequence[int]]) -> bool:
    return not any(n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j)


def _verdict(found: Mapping[str, Any]) -> str:
    intervals = {
        name: found[f"model_and_{name}"]["ahead_of_raters_interval"] for name in ("first", "second")
    }
    if any(None in interval for interval in intervals.values()):
        return "One image does not say how much of the difference is chance."
    below = [name for name, (_, high) in intervals.items() if high < 0]
    if len(below) == 2:
        return "That is less than they share with each other: a better model can be told by them."
    if below:
        return (
            f"With the {below[0]} that is less than the two share with each other; with the other "
            "it is as much."
        )
    return (
        "That is as much as they share with each other: whether another model is better cannot be "
        "told by these labels."
    )


def comparison_in_words(document: Mapping[str, Any]) -> list[str]:
    """How far the model is ahead of the one that it was compared with; nothing where it was not."""
    other = document.get("compared")
    if other is None or other["mean_jaccard_ahead"] is None:
        return []
    jaccard = _difference(
        other["mean_jaccard_ahead"],
        other["mean_jaccard_ahead_interval"],
        ("better", "worse"),
    )
    told = [
        f"Beside {other['model']['name']} ({other['model']['sha256'][:12]}), image by image: mean "
        f"Jaccard {_points(other['mean_jaccard_ahead'])} points{jaccard}."
    ]
    nearer = other["fraction_error_ahead"]
    if nearer is not None:
        side = "smaller" if nearer >= 0 else "larger"
        apart = _difference(nearer, other["fraction_error_ahead_interval"], ("better", "worse"))
        told.append(
            f"Its error of the differentiated share is {abs(100 * nearer):.1f} percentage points "
            f"{side}{apart}."
        )
    return told


def _difference(value: float, interval: Sequence[float | None], words: tuple[str, str]) -> str:
    """Interval and verdict, to follow a number. value : above 0 where the model is ahead"""
    low, high = interval
    if low is None or high is None:
        return ""
    said = "no difference that these images could show"
    if low > 0 or high < 0:
        said = words[0] if value > 0 else words[1]
    return f" (95 % interval {_points(low)} to {_points(high)}): {said}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _spread(interval: Sequence[float | None]) -> str:
    low, high = interval
    if low is None or high is None:
        return ""
    return f"; between {low:.0%} and {high:.0%} for other images like these"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def draw_raters(axes: Axes, document: Mapping[str, Any]) -> None:
    """Jaccard index of each class for the three comparisons, with intervals."""
    found = document["raters"]
    classes = list(found["between_raters"]["jaccard"])
    for place, pair in enumerate(PAIRS):
        scores, intervals = found[pair]["jaccard"], found[pair]["jaccard_interval"]
        for row, name in enumerate(classes):
            if scores[name] is None:
                continue
            height = row + 0.22 * (place - 1)
            low, high = intervals[name]
            if low is not None and high is not None:
                axes.plot([low, high], [height, height], color=_COLOURS[pair], linewidth=1.6)
            axes.plot(
                [scores[name]],
                [height],
                marker="D" if place == 0 else "o",
                markersize=6,
                color=_COLOURS[pair],
                label=PAIRS[pair] if row == 0 else None,
                linestyle="none",
            )
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(classes) - 0.4, -0.6), xlabel="Jaccard index")
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            fontsize=8,
            loc="lower center",
            bbox_to_anchor=(0.4, 1.0),
            ncols=3,
            frameon=False,
            handletextpad=0.2,
            columnspacing=1.0,
        )
