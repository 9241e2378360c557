"""Where the record is, as `check-config` and `doctor` find it: is it there, and fit to be used?"""

from __future__ import annotations

from collections.abc import Iterator

from monitor.commands.common import open_store
from monitor.config import Config
from monitor.record.server_look import ServerLook, look_at_server

SLOW_TRIP_MS = 20


def in_short(server: ServerLook) -> str:
    state = "holds the record" if server.has_record else "is ready for a new record"
    return f"database: {server.shown_url} is PostgreSQL {server.version} and {state}"


def findings(config: Config) -> Iterator[tuple[bool | None, str]]:
    """(is it well, what was found); None: a note. Raises RecordError."""
    server = look_at_server(config.record.database_url)
    with open_store(config) as store:
        recorded = f"{store.captures.counts()['recorded']} captures recorded"
        url = store.database.shown_url
        if server is None:
            sound = store.database.is_sound()
            state = "sound" if sound else "damaged; restore a backup"
            yield sound, f"{url}: {state}, {recorded}"
            return
    trip_ms = 1000 * server.round_trip_s
    is_slow = trip_ms > SLOW_TRIP_MS
    far = ", which makes each capture slower; is it far away?" if is_slow else ""
    yield (
        None if is_slow else True,
        f"{url}: PostgreSQL {server.version} answers in {trip_ms:.1f} ms{far}; {recorded}",
    )
    if server.has_password:
        yield (
            None,
            "record.database holds the password; put it into a file that only the service's "
            "account can read, and name that: ?passfile=/etc/colonywatch/pgpass",
        )
