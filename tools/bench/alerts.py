"""How late and how often wrongly the rules alert, on simulated series: writes docs/alerts.md.

Numbers only, no pictures. The rules are the real ones, folded scan by scan as the record does:
`monitor.decisions.course.step`.

    python -m tools.bench.alerts --dishes 1500
    python -m tools.bench.alerts --part lives       # passages, debris and doubt alone
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, AlertTopic, Doubt, Stand, Standing
from monitor.decisions.course import Change, step
from monitor.decisions.status import can_be_judged, judge
from tools.bench.alert_series import (
    ALL,
    LIMIT,
    LIVES,
    START,
    Life,
    Noise,
    Series,
    readings_of,
    simulate,
)

ROOT = Path(__file__).parents[2]
IN_TIME = 2  # scans after the truth passed the limit
NOT_FALSE_H = 12.0  # an alert so long before the truth passes the limit is early, not false
LIMITS = DifferentiationConfig()
THRESHOLDS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.12, 0.14, 0.17, 0.20)
CURVE_DISHES = 1000
# What stands above them in docs/alerts.md is written by hand.
HEADING = "## How late, and how often false"
LIVES_HEADING = "## With passages, debris and doubt"

NOISES = (
    Noise("small", scan=0.006, share=0.08, gain=0.05, background=0.002, artefacts=0.0),
    Noise("assumed", scan=0.012, share=0.12, gain=0.10, background=0.010, artefacts=0.02),
    Noise("heavy", scan=0.020, share=0.20, gain=0.20, background=0.020, artefacts=0.08),
)
ASSUMED = NOISES[1]


@dataclass
class Score:
    """onsets, in_time, missed : dishes; delays : scans, of all that were alerted at all"""

    dishes: int = 0
    onsets: int = 0
    in_time: int = 0
    missed: int = 0
    false: int = 0
    delays: list[int] | None = None

    @property
    def share_in_time(self) -> float:
        return self.in_time / self.onsets

    @property
    def false_per_100(self) -> float:
        return 100 * self.false / self.dishes


def changes_of(
    series: Series, limits: DifferentiationConfig, interval_h: float
) -> list[tuple[int, Change]]:
    """(scan, what the course calls for with it). A passage that somebody tells of begins anew."""
    readings = readings_of(series, interval_h)
    told_at, first, stand = None, 0, Stand()
    found = []
    # All that the rules look back on: the trend's hours, and some scans for doubtful ones.
    back = 16 + round((limits.trend_h or 0) / interval_h)
    for number in range(len(readings)):
        passaged = series.passaged_at if series.is_told else None
        if told_at is None and passaged is not None and number * interval_h >= passaged:
            told_at, first, stand = START + timedelta(hours=passaged), number, Stand()
        window = readings[max(first, number + 1 - back) : number + 1]
        stand, changes = step(stand, window, limits, told_at)
        found += [(number, change) for change in changes]
    return found


def begun(changes: Sequence[tuple[int, Change]], topic: AlertTopic) -> list[int]:
    return [
        number for number, one in changes if one.topic is topic and one.kind is AlertKind.RAISED
    ]


def heard(series: Series, changes: Sequence[tuple[int, Change]]) -> list[int]:
    """Scans at which people are asked to look, or are being asked while the truth passes the limit:
    of a dish whose images are strange for days, they have been asked before.
    """
    found, is_open = [], False
    passed = -1 if series.passed is None else series.passed
    for number, one in changes:
        if one.topic is not AlertTopic.PLEASE_LOOK:
            continue
        if is_open and number > passed >= 0 and passed not in found:
            found.append(passed)
        is_open = one.kind is not AlertKind.CLEARED
        if is_open:
            found.append(number)
    if is_open and passed >= 0 and found[-1] <= passed:
        found.append(passed)
    return found


def alerts_by_rule(series: Series, limits: DifferentiationConfig, interval_h: float) -> list[int]:
    """Scans at which the dish is raised, by the rules that the daemon uses."""
    return begun(changes_of(series, limits, interval_h), AlertTopic.DIFFERENTIATION)


def alerts_by_blind_rule(
    series: Series, limits: DifferentiationConfig, interval_h: float
) -> list[int]:
    """The same rule where nothing is known of doubt and passages: each share at its word."""
    before, found = Standing(), []
    readings = [replace(one, doubt=Doubt()) for one in readings_of(series, interval_h)]
    back = 8 + round((limits.trend_h or 0) / interval_h)
    for number in range(len(readings)):
        judgement = judge(before, readings[max(0, number + 1 - back) : number + 1], limits)
        if judgement.alert is AlertKind.RAISED:
            found.append(number)
        before = Standing(judgement.status, judgement.severity)
    return found


def alerts_by_threshold(series: Series, limit: float, interval_h: float) -> list[int]:
    """Scans at which the reading crosses one limit upwards. Doubtful scans are left out too."""
    found, was_above = [], False
    for number, reading in enumerate(readings_of(series, interval_h)):
        if not can_be_judged(reading, LIMITS):
            continue
        is_above = (reading.differentiated_fraction or 0.0) > limit
        if is_above and not was_above:
            found.append(number)
        was_above = is_above
    return found


def alerts_by_perfect_eye(series: Series, limit: float) -> list[int]:
    """Scans at which what is shown crosses the limit: no scatter, no artefact, no waiting."""
    above = series.shown > limit
    return [int(one) for one in np.flatnonzero(above & ~np.r_[False, above[:-1]])]


def score(series: list[Series], alerts: list[list[int]], interval_h: float) -> Score:
    """An alert is false if the truth is not above the limit within 12 h."""
    ahead = max(1, round(NOT_FALSE_H / interval_h))
    total = Score(delays=[])
    for one, found in zip(series, alerts, strict=True):
        total.dishes += 1
        true = []
        for number in found:
            if (one.truth[number : number + ahead + 1] > LIMIT).any():
                true.append(number)
            else:
                total.false += 1
        # The last scans leave no time to be late in.
        if one.passed is None or one.passed + IN_TIME >= len(one.truth):
            continue
        total.onsets += 1
        if not true:
            total.missed += 1
            continue
        assert total.delays is not None
        total.delays.append(true[0] - one.passed)
        total.in_time += true[0] - one.passed <= IN_TIME
    return total


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dishes", type=int, default=1500)
    options.add_argument("--seed", type=int, default=5)
    options.add_argument("--out", type=Path, default=ROOT / "docs")
    options.add_argument("--part", choices=("all", "noise", "lives"), default="all")
    given = options.parse_args()
    if given.part != "lives":
        _write(given.out, HEADING, measure_noise(given.dishes, given.seed, given.out))
    if given.part != "noise":
        rows = [
            Lived.measured(life, interval_h, round(share * given.dishes), given.seed)
            for interval_h, life, share in LIVED
        ]
        _write(given.out, LIVES_HEADING, lives_page(rows, given.seed))


def _write(folder: Path, heading: str, section: str) -> None:
    """Put a section in the place of the one with its heading, which goes on to the next of ours."""
    about = folder / "alerts.md"
    text = about.read_text() if about.exists() else ""
    before, found, rest = text.partition(heading)
    others = [one for one in (HEADING, LIVES_HEADING) if one != heading]
    after = min((rest.index(one) for one in others if one in rest), default=len(rest))
    kept = rest[after:] if found else ""
    about.write_text(before.rstrip("\n") + "\n\n" + section.rstrip("\n") + "\n" + (
        "\n" + kept if kept else ""
    ))  # fmt: skip


def measure_noise(dishes: int, seed: int, out: Path) -> str:
    """Dishes to which nothing happens but noise, by how much of it there is."""
    rows = []
    for interval_h in (6.0, 2.0, 1.0):
        for noise in NOISES:
            random = np.random.default_rng(seed)
            series = [simulate(random, noise, interval_h) for _ in range(dishes)]
            rule = score(
                series, [alerts_by_rule(one, LIMITS, interval_h) for one in series], interval_h
            )
            plain = score(
                series, [alerts_by_threshold(one, LIMIT, interval_h) for one in series], interval_h
            )
            eye = score(series, [alerts_by_perfect_eye(one, LIMIT) for one in series], interval_h)
            rows.append((interval_h, noise, rule, plain, eye))
            print(
                f"every {interval_h:g} h, {noise.name}: rule {rule.share_in_time:.1%} in time, "
                f"{rule.false_per_100:.2f} false; threshold {plain.share_in_time:.1%}, "
                f"{plain.false_per_100:.2f}; perfect eye {eye.share_in_time:.1%}, "
                f"{eye.false_per_100:.2f}",
                flush=True,
            )
    curves = {
        interval_h: curve(seed, min(dishes, CURVE_DISHES), interval_h) for interval_h in (6.0, 2.0)
    }
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    draw(curves, out / "pictures" / "alerts-delay.png")
    return page(rows, dishes, seed)


# (hours between scans, what happens, share of the dishes: more scans take longer)
LIVED = (*((6.0, life, 1.0) for life in LIVES[1:]), (2.0, ALL, 0.4), (1.0, ALL, 0.6))


@dataclass
class Lived:
    """What is told of dishes to which something happens, under the assumed noise.

    told : alerts and requests to look together, with those open already; alone : alerts alone
    blind : the rule that knows of neither doubt nor passages
    looks, groundless : requests to look; those where the truth is not above the limit within 12 h
    passages, lasting : passages that were asked about; times that doubt was told to last
    """

    life: Life
    interval_h: float
    told: Score = field(default_factory=Score)
    alone: Score = field(default_factory=Score)
    blind: Score = field(default_factory=Score)
    looks: int = 0
    groundless: int = 0
    passages: int = 0
    lasting: int = 0

    @classmethod
    def measured(cls, life: Life, interval_h: float, dishes: int, seed: int) -> Lived:
        random = np.random.default_rng(seed)
        series = [simulate(random, ASSUMED, interval_h, life) for _ in range(dishes)]
        found = [changes_of(one, LIMITS, interval_h) for one in series]
        alerts = [begun(one, AlertTopic.DIFFERENTIATION) for one in found]
        asked = [begun(one, AlertTopic.PLEASE_LOOK) for one in found]
        both = [
            sorted(alerted + heard(one, changes))
            for one, alerted, changes in zip(series, alerts, found, strict=True)
        ]
        row = cls(
            life,
            interval_h,
            told=score(series, both, interval_h),
            alone=score(series, alerts, interval_h),
            blind=score(
                series,
                [alerts_by_blind_rule(one, LIMITS, interval_h) for one in series],
                interval_h,
            ),
            looks=sum(map(len, asked)),
            groundless=score(series, asked, interval_h).false,
            passages=sum(len(begun(one, AlertTopic.PASSAGE_SEEN)) for one in found),
            lasting=sum(len(begun(one, AlertTopic.DOUBTFUL)) for one in found),
        )
        print(
            f"every {interval_h:g} h, {life.name}: told {row.told.share_in_time:.1%} in time, "
            f"alert alone {row.alone.share_in_time:.1%}, {row.alone.false_per_100:.2f} false; "
            f"blind {row.blind.share_in_time:.1%}, {row.blind.false_per_100:.2f} false",
            flush=True,
        )
        return row


def lives_page(rows: Sequence[Lived], seed: int) -> str:
    table = []
    for row in rows:
        count = row.told.dishes
        low, high = _interval(row.told.in_time, row.told.onsets)
        table.append(
            f"| {row.interval_h:g} h | {row.life.name} | {count} | "
            f"{100 * row.told.share_in_time:.1f} ({100 * low:.1f} to {100 * high:.1f}) | "
            f"{100 * row.alone.share_in_time:.1f} | "
            f"{row.alone.false_per_100:.2f} ({row.alone.false}) | "
            f"{100 * row.looks / count:.0f} ({100 * row.groundless / count:.1f}) | "
            f"{100 * row.passages / count:.0f} | {100 * row.lasting / count:.0f} | "
            f"{100 * row.blind.share_in_time:.1f} | {row.blind.false_per_100:.1f} |"
        )
    everything = [row for row in rows if row.life == ALL]
    said = "\n".join(
        f"- every {row.interval_h:g} h: {100 * row.told.share_in_time:.1f} % told in time, "
        f"{row.alone.false_per_100:.2f} ({_false_range(row.alone)}) false alerts per 100 "
        f"dish-weeks; blind {100 * row.blind.share_in_time:.1f} % and "
        f"{row.blind.false_per_100:.1f}"
        for row in everything
    )
    return (
        (Path(__file__).parent / "alert-lives.md.in")
        .read_text()
        .format(
            said=said, seed=seed, onsets=everything[0].told.onsets,
            table="\n".join(table),
        )
    )  # fmt: skip


def curve(seed: int, dishes: int, interval_h: float) -> dict[str, list[tuple[float, Score]]]:
    """Both rules at different limits, under the assumed noise."""
    random = np.random.default_rng(seed + 1)
    series = [simulate(random, ASSUMED, interval_h) for _ in range(dishes)]
    found: dict[str, list[tuple[float, Score]]] = {"rule": [], "threshold": []}
    for limit in THRESHOLDS:
        limits = replace_limits(limit)
        rule = [alerts_by_rule(one, limits, interval_h) for one in series]
        plain = [alerts_by_threshold(one, limit, interval_h) for one in series]
        found["rule"].append((limit, score(series, rule, interval_h)))
        found["threshold"].append((limit, score(series, plain, interval_h)))
    return found


def replace_limits(limit: float) -> DifferentiationConfig:
    return LIMITS.model_copy(update={"raise_above": limit, "clear_below": limit / 2})


def draw(curves: dict[float, dict[str, list[tuple[float, Score]]]], path: Path) -> None:
    figure = Figure(figsize=(10.5, 5), dpi=120, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(curves))
    figure.subplots_adjust(left=0.075, right=0.985, top=0.85, bottom=0.13, wspace=0.17)
    names = {
        "rule": "ours: N of M scans, or a sure rise",
        "threshold": "one limit, one scan",
    }
    for axes, (interval_h, found) in zip(panels, curves.items(), strict=True):
        axes.axvspan(0.01, 1, color="#e7f5ec", zorder=0)
        axes.axvline(1, color="#15803d", linewidth=1.2, linestyle=":")
        axes.axhline(0, color="#9ca3af", linewidth=1)
        for kind, colour, marker in (("rule", "#d55e00", "o"), ("threshold", "#0072b2", "s")):
            false = [max(one.false_per_100, 0.05) for _, one in found[kind]]
            delay = [interval_h * float(np.mean(one.delays or [np.nan])) for _, one in found[kind]]
            axes.plot(false, delay, color=colour, marker=marker, linewidth=2, label=names[kind])
            for (limit, _), x, y in zip(found[kind], false, delay, strict=True):
                if limit in (0.02, 0.05, 0.10, 0.20):
                    axes.annotate(
                        f"{limit:.0%}".replace("%", " %"), (x, y), (7, 5),
                        textcoords="offset points", size=10, color=colour,
                    )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(0.04, None)
        axes.set_xlabel("false alerts per 100 dish-weeks (0.05: none seen)", size=11)
        axes.set_title(f"scans every {interval_h:g} h", size=12, loc="left")
        axes.grid(True, color="#e5e7eb")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel("mean delay of the alert, hours", size=11)
    panels[0].legend(frameon=False, fontsize=11)
    figure.text(0.012, 0.945, "Delay against false alerts, at alert limits of 2 to 20 %", size=13)
    canvas.print_png(str(path))


def page(rows: list[tuple[float, Noise, Score, Score, Score]], dishes: int, seed: int) -> str:
    table = []
    for interval_h, noise, rule, plain, eye in rows:
        for name, one in (("ours", rule), ("one limit", plain), ("perfect eye", eye)):
            low, high = _interval(one.in_time, one.onsets)
            delays = np.array(one.delays)
            table.append(
                f"| {interval_h:g} h | {noise.name} | {name} | "
                f"{100 * one.share_in_time:.1f} ({100 * low:.1f} to {100 * high:.1f}) | "
                f"{np.median(delays):.0f} | {np.mean(delays):.2f} | {one.missed} | "
                f"{one.false_per_100:.2f} ({one.false}) |"
            )
    noises = [
        f"| {one.name} | {one.scan:g} + {one.share:g} of the fraction | {one.gain:g} | "
        f"{one.background:g} | {100 * one.artefacts:g} % of days |"
        for one in NOISES
    ]
    found = {row[0]: row[2] for row in rows if row[1] is ASSUMED}
    rule = found[6.0]
    said = "\n".join(
        f"- every {interval_h:g} h: {100 * one.share_in_time:.1f} % in time, "
        f"{one.false_per_100:.2f} false alerts per 100 dish-weeks"
        for interval_h, one in found.items()
    )
    verdict = (
        f"Under the assumed noise, of dishes that are scanned\n\n{said}\n\n*In time* means within "
        f"{IN_TIME} scans of truly passing the limit. The targets were 95 % and 1."
    )
    return (
        (Path(__file__).parent / "alerts.md.in")
        .read_text()
        .format(
            verdict=verdict,
            dishes=dishes,
            onsets=rule.onsets,
            seed=seed,
            limit=f"{100 * LIMIT:g} %",
            table="\n".join(table),
            noises="\n".join(noises),
        )
    )


def _false_range(found: Score) -> str:
    low, high = _interval(found.false, found.dishes)
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _interval(count: int, total: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share."""
    share, z = count / total, 1.96
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (share * (1 - share) / total + z * z / (4 * total**2)) ** 0.5
    return middle - half, middle + half


if __name__ == "__main__":
    main()
