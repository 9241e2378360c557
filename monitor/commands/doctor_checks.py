"""What `doctor` finds out from the record, the clock, the disk and certificates."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from monitor.capture.mounts import mount_of, read_mounts
from monitor.commands.common import open_store, shown
from monitor.commands.findings import Finding
from monitor.config import Config
from monitor.decisions.capacity import load_of, verdict
from monitor.decisions.clock import KEPT, Arrival, clock_off, off_text
from monitor.host.clock import utc_now
from monitor.jobs.backups import backups_in
from monitor.jobs.retention import pictures_in
from monitor.record.workload import WorkedCapture

GIB = 2**30
SOON = timedelta(days=30)
OLD_BACKUP = timedelta(days=2)
LASTS_DAYS = 60
_WEEK = timedelta(days=7)
_ASK_S = 5.0


def capacity(config: Config) -> list[Finding]:
    """Does this machine keep up?"""
    loads = []
    with open_store(config) as store:
        dishes: dict[str, int] = defaultdict(int)
        for dish in store.dishes.signs():
            dishes[dish.source] += 1
        for source in config.sources:
            took: dict[int, float] = defaultdict(float)
            at: dict[int, datetime] = {}
            for one in store.workload.recent(source.name):
                if one.scan_id is not None:
                    took[one.scan_id] += one.took_s
                    at[one.scan_id] = min(one.taken_at, at.get(one.scan_id, one.taken_at))
            expected = None
            if source.expected_interval_h is not None and dishes[source.name]:
                expected = source.expected_interval_h * 3600 / dishes[source.name]
            load = load_of(
                source.name, [(at[scan], took[scan]) for scan in at], expected_every_s=expected
            )
            if load is not None:
                loads.append(load)
    if not loads:
        return [Finding("capacity", True, "not known yet: it takes three scans to tell")]
    ok, text = verdict(loads)
    return [Finding("capacity", ok, text)]


def clocks(config: Config) -> list[Finding]:
    """Dates of the last captures beside when they came."""
    found = []
    with open_store(config) as store:
        for source in config.sources:
            recent = store.workload.recent(source.name, limit=200)
            arrivals = _arrivals([one for one in recent if one.knows_time])
            if not arrivals:
                continue
            off = clock_off(arrivals, config.decisions.clock)
            what = f"clock of {source.name}"
            if off is not None:
                found.append(Finding(what, None, off_text(source.name, off)))
                continue
            late = sorted(one.seen - one.dated for one in arrivals)[len(arrivals) // 2]
            minutes = late / timedelta(minutes=1)
            far = f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.0f} h"
            found.append(Finding(what, True, f"captures came {far} after the time that they say"))
    return found


def _arrivals(recent: list[WorkedCapture]) -> list[Arrival]:
    """One a scan, the last ones."""
    kept: dict[int | None, Arrival] = {}
    for one in recent:
        written = None
        with suppress(OSError, ValueError, OverflowError):
            written = datetime.fromtimestamp(one.path.stat().st_mtime, UTC)
        kept.setdefault(one.scan_id, Arrival(one.taken_at, one.seen_at, written))
    return list(kept.values())[-KEPT:]


def shares(config: Config) -> list[Finding]:
    """Folders on shares, and how they are mounted."""
    found = []
    mounts = read_mounts()
    places = [(f"share of {one.name}", one.path, False) for one in config.sources]
    places.append(("share of the picker", config.removal_folder, True))
    for what, path, writes in places:
        own = mount_of(os.path.realpath(path), mounts)
        if own is None or own.tells_of_new_files or not path.exists():
            continue
        options = _options(own.place)
        kind = own.file_system
        told = f"{shown(path)} is a share ({kind}) at {shown(own.place)}"
        if kind.startswith("nfs") and "hard" in options and not writes:
            found.append(
                Finding(
                    what,
                    None,
                    f"{told}, mounted hard: a server that does not answer holds the daemon up",
                    "Add soft,timeo=100 to its options, so that a read fails and is tried again",
                )
            )
        elif not writes and "rw" in options:
            found.append(
                Finding(
                    what,
                    None,
                    f"{told}, mounted for writing; it is only read",
                    "Mount it read-only (ro), so that nothing here can ever change a capture",
                )
            )
        else:
            found.append(Finding(what, True, told))
    return found


def _options(place: str) -> set[str]:
    with suppress(OSError):
        for line in (
            Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").split("\n")
        ):
            parts = line.split(" ")
            if len(parts) > 3 and parts[1].replace("\\040", " ") == place:
                return set(parts[3].split(","))
    return set()


def room(config: Config) -> list[Finding]:
    """For how long the disk lasts at the pace of the last week."""
    folder = config.record.folder
    now = utc_now()
    held = lately = 0
    for one in pictures_in(folder):
        held += one.size
        lately += one.size if now - one.written_at < _WEEK else 0
    if not lately:
        return []
    free = shutil.disk_usage(folder).free - (config.record.stop_below_gib or 0) * GIB
    days = max(free, 0) / (lately / 7)
    text = f"pictures take {held / GIB:.1f} GiB and grow by {lately / 7 / GIB:.2f} GiB a day"
    keep = config.record.keep
    if any((keep.gib, keep.overlays_days, keep.label_maps_days)):
        return [Finding("room", True, f"{text}; record.keep removes old ones")]
    lasts = f"the disk lasts {days:.0f} days" if days < 3650 else "the disk lasts for years"
    return [Finding("room", None if days < LASTS_DAYS else True, f"{text}: {lasts}")]


def backups(config: Config) -> list[Finding]:
    """Is there a recent one, and where?"""
    if not config.record.database_url.startswith("sqlite"):
        return [
            Finding("backup", None, "a database server has backups of its own",
                    "Let pg_dump, or what your server has, run every night")
        ]  # fmt: skip
    folder = config.record.backup_folder
    held = backups_in(folder)
    if not held:
        return [Finding("backup", None, f"there is none in {shown(folder)}")]
    newest = next(iter(held))
    age = utc_now() - newest
    text = f"{len(held)} in {shown(folder)}, the newest of {newest:%Y-%m-%d %H:%M} UTC"
    if age > OLD_BACKUP:
        return [Finding("backup", None, f"{text}, {age.days} days ago")]
    found = [Finding("backup", True, text)]
    if folder.stat().st_dev == config.record.folder.stat().st_dev:
        found.append(
            Finding(
                "backup",
                None,
                "backups lie on the disk of the record, and would be lost with it",
                "Set record.backups.folder to another disk, and open it in the unit "
                "(deploy/README.md)",
            )
        )
    return found


def certificates(config: Config) -> list[Finding]:
    """When those end that this program shows or trusts."""
    found = []
    now = utc_now()
    for what, ends in _ends(config):
        if isinstance(ends, str):
            found.append(Finding(f"certificate of {what}", None, ends))
            continue
        left = ends - now
        text = f"good until {ends:%Y-%m-%d}"
        if left <= timedelta(0):
            found.append(Finding(f"certificate of {what}", False, f"ended on {ends:%Y-%m-%d}"))
        else:
            ok = None if left < SOON else True
            found.append(Finding(f"certificate of {what}", ok, f"{text}, {left.days} days"))
    return found


def _ends(config: Config) -> Iterator[tuple[str, datetime | str]]:
    ca_file = config.outlets.email.ca_file
    if ca_file is not None and ca_file.is_file():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with suppress(ssl.SSLError, OSError):
            context.load_verify_locations(ca_file)
        ends = [str(one["notAfter"]) for one in context.get_ca_certs() if "notAfter" in one]
        if ends:
            yield "who signed the mail server's", min(map(_moment, ends))
    sila = config.outlets.sila
    own = sila.certificate_file or config.sila_folder / "server.crt"
    for what, file in (("the SiLA server", own), ("SiLA clients", sila.clients_file)):
        if file is not None and file.is_file():
            yield what, _end_of(file)
    url = urlsplit(config.outlets.dashboard.url or "")
    if url.scheme == "https" and url.hostname:
        yield "the pages", _asked(url.hostname, url.port or 443)


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _end_of(file: Path) -> datetime | str:
    try:
        from cryptography import x509
    except ImportError:
        return f"{shown(file)}: cannot be looked at without the extra sila"
    try:
        return min(
            one.not_valid_after_utc for one in x509.load_pem_x509_certificates(file.read_bytes())
        )
    except (ValueError, OSError) as problem:
        return f"{shown(file)}: is no certificate ({problem})"


def _asked(host: str, port: int) -> datetime | str:
    """Of a server, by asking it."""
    try:
        with (
            socket.create_connection((host, port), timeout=_ASK_S) as raw,
            ssl.create_default_context().wrap_socket(raw, server_hostname=host) as server,
        ):
            known = server.getpeercert() or {}
        return _moment(str(known["notAfter"]))
    except ssl.SSLCertVerificationError as problem:
        return f"{host} shows one that this machine does not trust ({problem.verify_message})"
    except (OSError, KeyError, ValueError) as problem:
        return f"{host} cannot be asked from here ({problem})"


CHECKS = (capacity, clocks, shares, room, backups, certificates)
