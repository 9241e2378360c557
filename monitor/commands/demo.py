"""`demo`: a virtual incubator, watched by the real daemon, mailing through a real SMTP server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from monitor.commands.common import ConfigOption, StateOption, err, out, percent, say
from monitor.config import Config, load_config
from monitor.culture import AlertKind, AlertTopic
from monitor.errors import MonitorError, UsageError
from monitor.host.atomic_files import write_whole
from monitor.host.clock import utc_now
from monitor.record.database import Database
from monitor.record.server_look import look_at_server
from monitor.record.store import Store

MARK = ".colonywatch-demo"
DISHES = 4
INTERVAL_H = 6.0
SEED = 7
READY_S = 120.0
CATCH_UP_S = 240.0


@dataclass(frozen=True)
class Truth:
    """What the simulation knows of one scan."""

    dish: str
    at: datetime
    differentiated_fraction: float | None


def demo(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Folder for everything it writes.")
    ] = Path("demo"),
    hours: Annotated[
        float, typer.Option("--hours", min=72, max=240, help="Simulated time.")
    ] = 96.0,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            help="Keep the record in this empty PostgreSQL database, not in a file of DIR.",
        ),
    ] = None,
    config_given: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Watch a virtual incubator: four dishes over days, one of which starts to differentiate.

    The daemon, the database, the mail and the removal plan are the real ones. DIR is emptied
    first if an earlier demo made it. With --config, the demo runs with that file's model and
    limits.

    Example: colonywatch demo --dir demo
    """
    base = load_config(config_given)
    if database is not None:
        _refuse_used(database)
    _clear(folder)
    if state is not None:
        _clear(state)
    began = time.monotonic()
    start = (utc_now() - timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)
    mailbox = (state or folder) / "mailbox"
    with _mail_server(mailbox) as port:
        config_file = _write_config(folder, port, hours, base, state, database)
        config = load_config(config_file)
        with (
            _daemon(config_file, folder / "daemon.log") as process,
            Store(config.record.database_url) as store,
        ):
            truths = _watch_it_happen(folder, hours, start, store, process)
            _wait("the mail", lambda: store.outbox.counts().pending == 0, process, CATCH_UP_S)
        with Store(config.record.database_url) as store:
            ok = _report(folder, mailbox, config, store, truths, time.monotonic() - began)
    if not ok:
        raise MonitorError(
            f"the demo did not end as expected: see the table above and {folder / 'daemon.log'}"
        )


def _clear(folder: Path) -> None:
    """Start from an empty folder, and never empty one that is not ours."""
    if folder.exists():
        if not folder.is_dir():
            raise UsageError(f"{folder}: is a file; give another folder with --dir")
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise UsageError(
                f"{folder}: holds files that are not from a demo; give another folder with --dir"
            )
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True)
        (folder / MARK).write_text("made by colonywatch demo, emptied by the next one\n")
    except OSError as problem:
        raise MonitorError(f"{folder}: cannot be created ({problem.strerror})") from problem


def _refuse_used(database: str) -> None:
    """The demo empties folders that it made, but no database."""
    look = look_at_server(database)
    if look is None:
        raise UsageError(
            "--database: takes the URL of a PostgreSQL database; for SQLite leave it out"
        )
    if look.has_record:
        raise UsageError(
            f"{look.shown_url}: holds a record already; give an empty database with --database"
        )


def _write_config(
    folder: Path, port: int, hours: float, base: Config, state: Path | None, database: str | None
) -> Path:
    (folder / "captures").mkdir()
    decisions = base.decisions.model_dump(mode="json")
    decisions["removal"]["approval"] = "rule"  # nobody is there to say yes
    # The simulated days lie in the past; for a plan, each is today.
    decisions["removal"]["expires_h"] = hours + 24
    # Days pass in a minute: further mails on the same dish would tell nothing new.
    decisions["differentiation"] |= {"critical_above": None, "worse_by": None}
    decisions["silence"] |= {"disk_free_gib": None, "clock_jump_s": None}  # not of the demo
    held = (state or folder).absolute()
    document = {
        "sources": [
            {
                "name": "virtual-incubator",
                "path": "captures",
                "names": "dish-time",
                "settle_s": 0.2,
                "scan_quiet_s": 1.0,
                "fields_per_scan": 1,
                "calibration": {"id": "virtual-stage", "pixel_to_stage": [[1, 0], [0, 1]]},
            }
        ],
        "segmentation": base.segmentation.model_dump(mode="json"),
        "record": {"folder": str(held if state else "state"), "database": database},
        "decisions": decisions,
        "outlets": {
            "email": {
                "server": "127.0.0.1",
                "port": port,
                "security": "none",
                "sender": "colonywatch@virtual-incubator.example",
                "recipients": ["culture-room@virtual-incubator.example"],
                "gather_s": 0,
            },
            "removal": {"folder": str(held / "picker")},
        },
        "compute": base.compute.model_dump(mode="json"),
    }
    path = folder / "config.yaml"
    head = "# What the demo ran with. A real one differs in the source and the mail server.\n"
    write_whole(path, (head + yaml.safe_dump(document, sort_keys=False)).encode())
    return path


@contextmanager
def _mail_server(mailbox: Path) -> Iterator[int]:
    """A real SMTP server on this machine that puts each mail into a folder. Gives its port."""
    from aiosmtpd.controller import Controller

    mailbox.mkdir(parents=True, exist_ok=True)

    class Mailbox:
        count = 0

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            self.count += 1
            write_whole(mailbox / f"{self.count:03d}.eml", bytes(envelope.content))
            return "250 kept"

    # The controller cannot choose a port by itself: it connects to the one it was given.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    controller = Controller(Mailbox(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@contextmanager
def _daemon(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon as a process of its own, as systemd would start it."""
    with log.open("wb") as lines:
        process = subprocess.Popen(  # nosec B603 # of ourselves
            [sys.executable, "-m", "monitor", "run", "--config", str(config)],
            stdout=lines,
            stderr=lines,
            stdin=subprocess.DEVNULL,
            # Ctrl-C is for the demo; the daemon is told to stop in the ordinary way.
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _watch_it_happen(
    folder: Path, hours: float, start: datetime, store: Store, process: subprocess.Popen[bytes]
) -> list[Truth]:
    """Let the imager write scan after scan while the daemon follows."""
    # Drawing pulls in scipy; the other commands do without.
    from model.simulation.incubator import simulate_incubator

    say("starting the daemon")

    def is_alive() -> bool:
        return any(life.alive for life in store.processes.living("daemon", utc_now()))

    _wait("the daemon", is_alive, process, READY_S)
    visits = int(hours / INTERVAL_H + 1e-9) + 1
    truths: list[Truth] = []
    plain = not err.is_terminal
    with Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        disable=plain,
    ) as progress:
        written = progress.add_task("captures written by the imager", total=visits * DISHES)
        recorded = progress.add_task("captures recorded by the daemon", total=visits * DISHES)

        def caught_up() -> bool:
            counts = store.captures.counts()
            if counts["unreadable"]:
                raise MonitorError(store.unfinished.troubled()[0].message or "unreadable capture")
            progress.update(recorded, completed=counts["recorded"])
            return counts["recorded"] >= len(truths)

        alerts = 0
        for scan in simulate_incubator(
            folder / "captures",
            dishes=DISHES,
            hours=hours,
            interval_h=INTERVAL_H,
            seed=SEED,
            start=start,
            truth_dir=folder / "truth",
        ):
            fraction = scan.fractions.differentiated_fraction
            truths.append(Truth(scan.dish, scan.acquired_at, fraction))
            progress.update(written, completed=len(truths))
            if len(truths) % DISHES == 0:
                # The imager needs hours between its rounds; here it waits for the daemon.
                _wait("the daemon", caught_up, process, CATCH_UP_S)
                # And hours for the mail: it should speak of the plan before the next scan ends it.
                _wait("the mail", lambda: store.outbox.counts().pending == 0, process, CATCH_UP_S)
                if plain:
                    say(
                        f"hour {scan.hours:5.1f}: {len(truths)} captures written, "
                        f"{store.captures.counts()['recorded']} recorded"
                    )
                alerts = _tell_alerts(store, alerts, start, progress)
        _wait("the daemon", caught_up, process, CATCH_UP_S)
    return truths


def _tell_alerts(store: Store, told: int, start: datetime, progress: Progress) -> int:
    """Those that came since `told` of them were told. Returns how many are."""
    found = store.alerts.alerts()
    for alert in found[: len(found) - told]:
        progress.console.print(
            f"hour {(alert.at - start).total_seconds() / 3600:5.1f}: alert "
            f"{alert.kind}: {alert.dish}, {percent(alert.fraction)} differentiated",
            markup=False,
        )
    return len(found)


def _wait(
    what: str, ready: Callable[[], bool], process: subprocess.Popen[bytes], limit_s: float
) -> None:
    until = time.monotonic() + limit_s
    while not ready():
        if process.poll() is not None:
            raise MonitorError(f"the daemon ended with {process.returncode}; see daemon.log")
        if time.monotonic() > until:
            raise MonitorError(f"{what} did not come within {limit_s:.0f} s; see daemon.log")
        time.sleep(0.1)


def _report(
    folder: Path, mailbox: Path, config: Config, store: Store, truths: list[Truth], took_s: float
) -> bool:
    """The table of what happened. True where one dish was alerted for, and rightly."""
    from monitor.outlets.figures.series import plot_story

    alerts = Counter(
        alert.dish
        for alert in store.alerts.alerts()
        if alert.kind is AlertKind.RAISED and alert.topic is AlertTopic.DIFFERENTIATION
    )
    plans = Counter(plan.dish for plan in store.plans.all())
    table = Table(title="What happened")
    for heading in (
        "dish",
        "scans",
        "differentiated",
        "truth",
        "alerts",
        "plans",
    ):
        table.add_column(heading, justify="left" if heading == "dish" else "right", no_wrap=True)
    right = True
    for dish in store.dishes.dishes():
        series = store.dishes.history(dish.name)
        known = [truth for truth in truths if truth.dish == dish.name]
        turned = (known[-1].differentiated_fraction or 0.0) > 0.05
        right &= (alerts[dish.name] == 1) if turned else (alerts[dish.name] == 0)
        right &= len(series) == len(known)
        table.add_row(
            dish.name,
            str(dish.scans),
            _change(series[0].differentiated_fraction, series[-1].differentiated_fraction),
            _change(known[0].differentiated_fraction, known[-1].differentiated_fraction),
            str(alerts[dish.name]),
            str(plans[dish.name]),
        )
        plot = plot_story(
            store.timelines.of(dish.name),
            config.decisions.limits_for(dish.name, dish.source),
            zone=config.sources[0].zone,
        )
        write_whole(folder / "plots" / f"{dish.name}.png", plot)
    out.print(table)
    mails = sorted(mailbox.glob("*.eml"))
    out.print(
        f"{len(truths)} captures in {took_s:.0f} s, {len(mails)} mail{'s' * (len(mails) != 1)}"
    )
    _show_files(folder, mails[0] if mails else mailbox, config, store.database)
    # Beside its alert a dish may be asked about while a reading is in doubt, or be past saving.
    others = {alert.dish for alert in store.alerts.alerts()} - set(alerts)
    return right and bool(mails) and sum(alerts.values()) == 1 and not others


def _show_files(folder: Path, mail: Path, config: Config, database: Database) -> None:
    """Where everything lies."""
    for what, path in (
        ("mail", mail),
        ("overlays", config.overlay_folder),
        ("plots", folder / "plots"),
        ("removal plans", config.removal_folder),
        ("captures and truth", folder),
        ("database", database.file or database.shown_url),
        ("daemon's log", folder / "daemon.log"),
    ):
        out.print(f"  {what + ':':<20}{path}", markup=False, soft_wrap=True)
    out.print(
        f"look further:  colonywatch history dish-01 --config {folder / 'config.yaml'}",
        markup=False,
        soft_wrap=True,
    )


def _change(first: float | None, last: float | None) -> str:
    shown = "–" if first is None else f"{100 * first:.1f}"
    return f"{shown} -> {percent(last)}"
