"""Figures for Prometheus, beside the pages."""

from __future__ import annotations

from monitor.config.values import PathField, Section


class MetricsConfig(Section):
    """token_file : who asks for /metrics from elsewhere names what this file holds (Authorization:
    Bearer ...); None = only this machine is answered
    """

    token_file: PathField | None = None
