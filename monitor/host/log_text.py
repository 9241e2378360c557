"""Values as the log says them."""

from __future__ import annotations


def number_text(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
