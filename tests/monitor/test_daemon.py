"""The daemon's own parts, without a daemon."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from monitor.daemon import run_jobs_now


def test_after_the_clock_was_set_back_the_jobs_go_on():
    """Their next time lies a year ahead: no mail and no rescan would come until then."""
    ran = threading.Event()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        ran.set,
        "interval",
        seconds=3600,
        misfire_grace_time=None,
        next_run_time=datetime.now(UTC) + timedelta(days=365),
    )
    scheduler.start()
    try:
        run_jobs_now(scheduler)
        assert ran.wait(30)
        (job,) = scheduler.get_jobs()
        assert job.next_run_time < datetime.now(UTC) + timedelta(hours=2)
    finally:
        scheduler.shutdown(wait=True)
