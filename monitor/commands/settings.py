"""`check-config`, `doctor`: what is set, what is in the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import closing
from datetime import timedelta
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from monitor.capture.formats.sidecars import read_beside
from monitor.capture.naming import name_capture
from monitor.capture.pixel_size import pixel_size_of
from monitor.capture.quality.round_well import find_round_well
from monitor.capture.watching import list_captures, watch_kind
from monitor.commands import record_check
from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    configured,
    open_config,
    open_store,
    out,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.commands.doctor_checks import CHECKS
from monitor.commands.findings import Finding
from monitor.config import Config, SourceConfig, find_config
from monitor.config.on_this_machine import missing_here
from monitor.config.problems import STAND_IN
from monitor.culture import CalibrationKind
from monitor.errors import (
    CalibrationError,
    CaptureError,
    ConfigError,
    MonitorError,
    OutletError,
    RecordError,
)
from monitor.host.clock import utc_now
from monitor.record.server_look import look_at_server
from monitor.stage.calibration import calibration_to_use

FREE_BYTES_WANTED = 2 * 2**30
FULL_MAIL_BYTES = 2_000_000
EXAMPLE = "config.default.yaml"
# Files of a source that are looked through.
_LOOKED_AT = 200


def check_config(
    example: Annotated[
        bool, typer.Option("--example", help="Print the documented default configuration.")
    ] = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Check a configuration; all problems are shown at once, with file, key and what is allowed.

    Example: colonywatch check-config --config /etc/colonywatch/config.yaml
    """
    if example:
        typer.echo(example_config(), nl=False)
        return
    where = find_config(config) or "the built-in defaults"
    lines: list[str] = []
    try:
        found = open_config(config, state)
    except ConfigError as problem:
        lines, rest = str(problem).splitlines(), problem.rest
        if not isinstance(rest, Config):
            raise
        found = rest
    lines += [f"{where}: {line}" for line in missing_here(found) if STAND_IN not in line]
    server = None
    try:
        server = look_at_server(found.record.database_url)
    except RecordError as problem:
        lines.append(f"{where}: record.database: {problem}")
    if lines:
        raise ConfigError("\n".join(dict.fromkeys(lines)))
    out.print(f"{where}: no problem found", markup=False)
    for source in found.sources:
        if not source.path.exists():
            say(f"source {source.name}: {source.path} is not there (yet)")
    if server is None or server.has_record:
        _say_renamed_sources(found)
    if server is not None:
        say(record_check.in_short(server))
    say(
        f"record: {found.record.folder}; mails: "
        f"{found.outlets.email.server or found.mailbox}; picker: {found.removal_folder}"
    )


def _say_renamed_sources(config: Config) -> None:
    """What becomes of dishes whose source has another name by now."""
    url = _record_file(config)
    if url is not None and not url.is_file():
        return
    try:
        with open_store(config) as store:
            changes = store.sources.changes(configured(config))
    except MonitorError as problem:
        say(f"record: cannot be looked at: {problem}")
        return
    for change in changes:
        say(change.text)


def _record_file(config: Config) -> Path | None:
    """The file of an SQLite record; None for another database."""
    _, is_sqlite, path = config.record.database_url.partition("sqlite:///")
    return Path(path) if is_sqlite else None


def example_config() -> str:
    """The text of the documented default configuration."""
    packaged = resources.files("monitor") / EXAMPLE
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8")


def doctor(
    as_json: JsonOption = False, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Check this machine for what would keep the daemon from working.

    It also says how to mend each thing. Exits 1 where something fails; notes are no failures.

    Example: colonywatch doctor --config /etc/colonywatch/config.yaml
    """
    begin_logging()
    findings = look_over(open_config(config, state))
    if as_json:
        print_json(as_documents(findings))
    else:
        _show_findings(findings)
    if any(one.ok is False for one in findings):
        raise typer.Exit(1)


def look_over(settings: Config) -> list[Finding]:
    """All that `doctor` looks at. What cannot be looked at is said, too."""
    findings: list[Finding] = []
    checks = (
        _missing,
        _state_folder,
        _database,
        _model,
        _sources,
        _silence,
        _calibrations,
        _scales,
        _inotify,
        _mail,
        _channels,
        _dashboard,
        _check_in,
        _picker,
        *CHECKS,
    )
    for look in checks:
        try:
            findings += look(settings)
        except (MonitorError, OSError) as problem:
            findings.append(Finding(look.__name__.strip("_"), False, str(problem)))
    if not any(one.what == "configuration" for one in findings):
        findings.insert(0, Finding("configuration", True, "no problem found"))
    return findings


def as_documents(findings: list[Finding]) -> list[dict[str, object]]:
    """The JSON form of `doctor`."""
    return [
        {"what": one.what, "ok": one.ok, "text": shown(one.text), "mend": one.cure or None}
        for one in findings
    ]


def _show_findings(findings: list[Finding]) -> None:
    signs = {True: "[green]ok[/]", False: "[red]fails[/]", None: "[yellow]note[/]"}
    table = Table("", "what", "found", "how to mend it", show_lines=False)
    for one in findings:
        table.add_row(signs[one.ok], one.what, cell(one.text), cell(one.cure))
    show_table(table)


def _state_folder(config: Config) -> list[Finding]:
    folder = config.record.folder
    folder.mkdir(parents=True, exist_ok=True)
    writable = os.access(folder, os.W_OK)
    free = shutil.disk_usage(folder).free
    kind, why = watch_kind(folder, "auto")
    found = [
        Finding(
            "state folder",
            writable,
            f"{folder} {'can be written' if writable else 'cannot be written'}",
        ),
        Finding("disk", None if free < FREE_BYTES_WANTED else True, f"{free / 2**30:.1f} GiB free"),
    ]
    if kind == "polling" and config.record.database is None:
        found.append(
            Finding(
                "state folder", False, f"{why}: SQLite does not work safely there; use a local disk"
            )
        )
    return found


def _database(config: Config) -> list[Finding]:
    return [Finding("database", ok, text) for ok, text in record_check.findings(config)]


def _model(config: Config) -> list[Finding]:
    from monitor.segmentation.measuring import load_segmenter

    segmenter = load_segmenter(config.segmentation.model, config.compute.threads)
    return [
        Finding(
            "model", True, f"{segmenter.name} {segmenter.sha256[:12]}: hash and canary are correct"
        )
    ]


def _sources(config: Config) -> list[Finding]:
    if not config.sources:
        return [Finding("sources", None, "none configured: the daemon would watch nothing")]
    found = []
    for source in config.sources:
        what = f"source {source.name}"
        if not source.path.is_dir():
            found.append(
                Finding(
                    what,
                    False,
                    f"{source.path} is not a folder; make it, mount it or correct sources[].path",
                )
            )
            continue
        if not os.access(source.path, os.R_OK | os.X_OK):
            found.append(Finding(what, False, f"{source.path} may not be read by this user"))
            continue
        kind, why = watch_kind(source.path, source.watch)
        files = list(list_captures(source.path))
        fitting = 0
        for file in files[:_LOOKED_AT]:
            try:
                name_capture(file, source.names, source.zone, source.start)
                fitting += 1
            except CaptureError:
                pass
        looked = min(len(files), _LOOKED_AT)
        found.append(
            Finding(
                what,
                None if fitting < looked else True,
                f"{source.path}: {len(files)} captures, watched by {kind} ({why}); "
                f"names fit in {fitting} of {looked}",
            )
        )
    return found


def _silence(config: Config) -> list[Finding]:
    """Whose silence is noticed: that is off until somebody says how often scans come."""
    return [
        Finding(
            f"source {source.name}",
            None,
            "silence is not watched: nobody is mailed when a dish or an imager gives nothing "
            "new; set "
            f"sources[{number}].expected_interval_h",
        )
        for number, source in enumerate(config.sources)
        if source.expected_interval_h is None
    ]


def _missing(config: Config) -> list[Finding]:
    return [Finding("configuration", False, line) for line in missing_here(config)]


def _calibrations(config: Config) -> list[Finding]:
    found = []
    with open_store(config) as store:
        for source in config.sources:
            for kind in CalibrationKind:
                what = f"source {source.name}"
                on_record = store.calibrations.of(source.name, kind)
                try:
                    used = calibration_to_use(kind, source.name, source, on_record, utc_now())
                except CalibrationError as problem:
                    found.append(Finding(what, None, f"no removal plans from it: {problem}"))
                    continue
                if used is not None:
                    found.append(Finding(what, True, f"{kind} calibration {used.id}"))
                elif kind is CalibrationKind.CAMERA:
                    text = "no calibration: no removal plans from it (colonywatch calibrate)"
                    found.append(Finding(what, None, text))
    return found


def _scales(config: Config) -> list[Finding]:
    """What is taken for pixel sizes that nothing says: a person should say them."""
    numbers = {source.name: number for number, source in enumerate(config.sources)}
    with open_store(config) as store:
        found = [one for one in store.scales.all() if one.source in numbers]
    return [
        Finding(
            f"source {one.source}",
            None,
            f"images of {one.setup} come without a pixel size; {one.um:.3g} um/px is assumed, "
            f"{one.grounds}. No areas and no removal plans until "
            f"sources[{numbers[one.source]}].pixel_size_um says it"
            + (
                ""
                if one.looks_like_um is None
                else f"; later images look like {one.looks_like_um:.3g}"
            ),
        )
        for one in found
    ] + _without_pixel_size(config, {one.source for one in found})


def _without_pixel_size(config: Config, told: Collection[str]) -> list[Finding]:
    """Sources whose newest image says no pixel size, before anything of them is on record."""
    found = []
    for number, source in enumerate(config.sources):
        if source.name in told or source.pixel_size_um is not None or not source.path.is_dir():
            continue
        some = islice(list_captures(source.path), _LOOKED_AT)
        newest = max(some, key=_written, default=None)
        if newest is not None and _says_no_size(newest, source):
            found.append(
                Finding(
                    f"source {source.name}",
                    None,
                    f"{shown(newest.name)} says no pixel size, nor does its name: one will be "
                    "assumed, without areas and removal plans; set "
                    f"sources[{number}].pixel_size_um",
                )
            )
    return found


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _says_no_size(path: Path, source: SourceConfig) -> bool:
    """Whether neither the image nor its name nor a file beside it says the pixel size; False for
    what cannot be read, which is told elsewhere.
    """
    from monitor.capture.formats.reading import open_picture

    try:
        with closing(open_picture(path, zone=source.zone, channel=source.channel)) as picture:
            named = name_capture(path, source.names, source.zone, source.start)
            sidecar = read_beside(path, named.pattern, source.zone, named.channel)
            well = find_round_well(picture.pixels) if source.well_diameter_mm else None
            size = pixel_size_of(picture, named=named, sidecar=sidecar, settings=source, well=well)
            return size.um is None
    except (CaptureError, OSError):
        return False


def _inotify(config: Config) -> list[Finding]:
    limit = Path("/proc/sys/fs/inotify/max_user_watches")
    if not limit.is_file():
        return []
    watches = int(limit.read_text())
    folders = sum(
        1 for source in config.sources if source.path.is_dir() for _ in source.path.rglob("*/")
    )
    return [
        Finding(
            "file events",
            None if folders * 2 > watches else True,
            f"{folders} folders, {watches} watches allowed (fs.inotify.max_user_watches)",
        )
    ]


def _mail(config: Config) -> list[Finding]:
    from monitor.outlets.mail.smtp import try_out

    email = config.outlets.email
    if email.server is None:
        return [Finding("mail", None, f"no server set; mails are files in {config.mailbox}")]
    try:
        tried = try_out(email)
    except OutletError as problem:
        return [Finding("mail", False, str(problem))]
    found = [
        Finding("mail", False if one.permanent or one.setting else None, str(one))
        for one in tried.problems
    ]
    limit = tried.largest_bytes
    if limit is not None and limit < FULL_MAIL_BYTES:
        found.append(
            Finding(
                "mail",
                None,
                f"{tried.where} accepts only mails of up to {limit / 1e6:.1f} MB: "
                f"larger ones go with fewer and smaller images",
            )
        )
    if not tried.problems:
        text = f"{tried.where} accepts our mail; send one with: colonywatch alerts test"
        found.append(Finding("mail", True, text))
    return found


def _channels(config: Config) -> list[Finding]:
    from monitor.outlets.push import service_of

    findings = []
    for channel in config.outlets.channels:
        try:
            service_of(channel)
        except OutletError as problem:
            findings.append(Finding("channel", False, str(problem)))
        else:
            findings.append(
                Finding("channel", True, f"{channel.name}; try: colonywatch alerts test")
            )
    return findings


def _dashboard(config: Config) -> list[Finding]:
    from monitor.outlets.answer_links import AnswerLinks

    dashboard = config.outlets.dashboard
    if dashboard.url is None:
        return [Finding("dashboard", None, "no outlets.dashboard.url; mails have no links")]
    AnswerLinks(config.secret_file, good_for=timedelta(days=dashboard.link_days))
    return [Finding("dashboard", True, f"mails link to {dashboard.url}")]


def _check_in(config: Config) -> list[Finding]:
    from monitor.outlets.heartbeat import address_in

    url_file = config.outlets.check_in.url_file
    if url_file is None:
        text = "no outlets.check_in.url_file; nobody would notice a dead machine"
        return [Finding("check-in", None, text)]
    address_in(url_file)
    return [Finding("check-in", True, f"every {config.outlets.check_in.every_s:g} s")]


def _picker(config: Config) -> list[Finding]:
    folder = config.removal_folder
    if not folder.exists():
        text = f"{folder} is created with the first plan"
        return [Finding("picker", None, text, "Nothing to do")]
    return [Finding("picker", os.access(folder, os.W_OK), f"{folder}")]
