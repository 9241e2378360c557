"""Values as the log says them."""

from __future__ import annotations

from collections.abc import Iterable


def number_text(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def doubt_text(reasons: Iterable[str]) -> str:
    """`` in_doubt=dark,unfamiliar``; empty where there are no reasons."""
    named = ",".join(reasons)
    return f" in_doubt={named}" if named else ""
