"""The real daemon over everything that imagers do while they write."""

from __future__ import annotations

import pytest

from tools.soak.writers import ill_mannered_writers


@pytest.mark.slow
def test_however_a_file_is_written_it_is_read_once_and_whole(tmp_path):
    """Bursts, pauses longer than the quiet time, hidden names, reserved room, empty files, other
    bytes under a name that was read, folders moved in whole, a field that comes late."""
    said = ill_mannered_writers(tmp_path, settle_s=0.2, pause_s=0.15)
    assert said == "9 manners of writing, 14 captures, each read as it was meant"
