"""Memory, stages, log lines for machines."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest

from monitor.host.json_log import JsonLines
from monitor.host.memory import resident_bytes
from monitor.host.stages import Stages


def test_memory_is_that_of_the_process():
    held = resident_bytes()
    assert held is not None and held == resident_bytes(os.getpid())
    assert 5 * 2**20 < held < 50 * 2**30
    assert resident_bytes(2**30) is None


def test_stages_add_up_and_nothing_to_do_is_nothing():
    stages = Stages()
    stages.add("measure", 1.5, 3)
    stages.add("measure", 0.5)
    stages.add("read scans", 9.0, 0)
    with pytest.raises(ZeroDivisionError), stages.timed("record", 2):
        1 / 0  # noqa: B018
    totals = stages.totals()
    assert totals["measure"] == [2.0, 4] and totals["record"][1] == 2
    assert set(totals) == {"measure", "record"}


def test_a_log_line_as_json_is_one_line_whatever_it_says():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord(
            "monitor.daemon", logging.ERROR, __file__, 1, "capture=%s\n培養", ("a.tif",),
            sys.exc_info(),
        )  # fmt: skip
    text = JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "capture=a.tif\n培養" and line["level"] == "error"
    assert line["logger"] == "monitor.daemon" and "ValueError: two" in line["error"]
    assert line["time"].endswith("+00:00")
