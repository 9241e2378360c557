from __future__ import annotations

import re
import signal
import subprocess
import urllib.request
from pathlib import Path

from tests.monitor.commands.calls import DONE, LIMIT_S, command
from tests.monitor.outlets.dashboard.test_dashboard import free_port


def test_it_says_where_it_is_answers_there_and_ends_when_told(tmp_path):
    """As systemd starts and stops it."""
    process = subprocess.Popen(
        command("serve", "--state", tmp_path / "state", "--port", str(free_port())),
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found is not None
        with urllib.request.urlopen(found[0], timeout=LIMIT_S) as page:
            assert "No dish has been recorded yet" in page.read().decode()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
        assert process.returncode in (DONE, -signal.SIGTERM)
    finally:
        process.kill()
