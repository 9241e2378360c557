"""How well a judge tells right readings from wrong ones: by kind, with what is sent to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.doubt.fit import RIGHT, WRONG, Observed
from model.doubt.judge import Judge


def doubt_table(judge: Judge, observed: Sequence[Observed]) -> dict[str, dict[str, Any]]:
    """One row a kind of the images given, and one for all; plain values, shares undefined null.

    in_doubt : share that is sent to a person
    wrong_in_doubt : of those whose fraction is wrong by more than 0.2
    right_in_doubt : of those wrong by less than 0.05
    covered : share of the intervals that hold the truth; trusted_covered : of those not in doubt
    width : mean width of the intervals of those not in doubt
    """
    rows: dict[str, list[Observed]] = {}
    for one in observed:
        rows.setdefault(one.kind, []).append(one)
    facts = {kind.name: kind for kind in judge.kinds}
    table = {}
    for name, some in [*rows.items(), ("all", list(observed))]:
        table[name] = _row(judge, some)
        kind = facts.get(name)
        table[name]["calibrated"] = kind is not None and kind.calibrated
    return table


def _row(judge: Judge, some: Sequence[Observed]) -> dict[str, Any]:
    told = [(one, judge.doubt_of(one.vector, one.read)) for one in some]
    wrong = [d.in_doubt for one, d in told if one.error is not None and one.error > WRONG]
    right = [d.in_doubt for one, d in told if one.error is not None and one.error < RIGHT]
    inside, trusted, widths = [], [], []
    for one, doubt in told:
        if one.truth is None or doubt.interval is None:
            continue
        low, high = doubt.interval
        inside.append(low - 1e-9 <= one.truth <= high + 1e-9)
        if not doubt.in_doubt:
            trusted.append(inside[-1])
            widths.append(high - low)
    return {
        "fields": len(some),
        "groups": len({(one.kind, one.group) for one in some}),
        "in_doubt": _share([doubt.in_doubt for _, doubt in told]),
        "wrong": len(wrong),
        "wrong_in_doubt": _share(wrong),
        "right": len(right),
        "right_in_doubt": _share(right),
        "covered": _share(inside),
        "trusted_covered": _share(trusted),
        "width": round(sum(widths) / len(widths), 4) if widths else None,
    }


def _share(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def risk_by_coverage(judge: Judge, observed: Sequence[Observed]) -> list[tuple[float, float]]:
    """Share of images kept, the surest first, and the mean error of their fractions.

    The order is by the largest of strangeness, mixture and entropy, each over its limit.
    """
    scored = sorted(
        (strength_of(judge, one), one.error) for one in observed if one.error is not None
    )
    total, found = 0.0, []
    for place, (_, error) in enumerate(scored, start=1):
        total += error
        found.append((place / len(scored), total / place))
    return found


def strength_of(judge: Judge, one: Observed) -> float:
    """How strong the doubt about an image is; above 1 it is in doubt."""
    place = judge.bank.place(one.vector)
    return max(
        place.strangeness,
        one.read.mixture / max(place.family.mixture, 1e-9),
        one.read.entropy / max(place.family.entropy, 1e-9),
    )


def as_markdown(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table for a card."""
    heads = (
        "images",
        "fields (groups)",
        "in doubt",
        "of the wrong (> 0.2)",
        "of the right (< 0.05)",
        "interval holds the truth",
        "where not in doubt",
        "width there",
        "calibrated",
    )
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, row in table.items():
        cells = (
            name,
            f"{row['fields']} ({row['groups']})",
            _percent(row["in_doubt"]),
            f"{_percent(row['wrong_in_doubt'])} of {row['wrong']}",
            f"{_percent(row['right_in_doubt'])} of {row['right']}",
            _percent(row["covered"]),
            _percent(row["trusted_covered"]),
            "-" if row["width"] is None else f"{row['width']:.3f}",
            "yes" if row["calibrated"] else "no",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
