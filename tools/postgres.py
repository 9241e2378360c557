"""A PostgreSQL of its own for as long as a command runs: `python -m tools.postgres COMMAND ...`.

It lies in a folder in /tmp, is reached through a socket there and by nobody else, and keeps nothing
safe from a power cut. The command finds its URL in COLONYWATCH_POSTGRES. Where that is set already,
the server that it names is used instead.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "COLONYWATCH_POSTGRES"
DEBIAN = Path("/usr/lib/postgresql")
START_S = 60
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "log_min_messages": "error",
}


def programs() -> Path | None:
    """The folder of initdb and postgres, of the newest version that is installed."""
    found = [
        one.parent for one in DEBIAN.glob("*/bin/initdb") if (one.parent / "postgres").exists()
    ]
    if found:
        return max(found, key=lambda folder: float(folder.parent.name))
    here = shutil.which("initdb")
    return None if here is None else Path(here).resolve().parent


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server with its data in `folder`, which is empty; yields the URL of its first database.

    PostgreSQL refuses to run as root; for root it runs as the first of postgres and nobody.

    Raises RuntimeError where none is installed, or it does not start.
    """
    binaries = programs()
    if binaries is None:
        raise RuntimeError("no PostgreSQL is installed here; apt-get install postgresql")
    account = _account()
    data = folder / "data"
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    as_account = (
        {}
        if account is None
        else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    )
    settled = {
        "env": {"PATH": os.environ["PATH"], "HOME": str(folder)},
        "cwd": folder,
        **as_account,
    }
    made = subprocess.run(
        [binaries / "initdb", "--pgdata", data, "--username", "colonywatch", "--auth", "trust",
         "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"],
        capture_output=True, text=True, **settled,
    )  # fmt: skip
    if made.returncode != 0:
        raise RuntimeError(f"initdb: {made.stderr.strip()}")
    settings = [f"--{key}={value}" for key, value in _SETTINGS.items()]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(
            [binaries / "postgres", "-D", data, f"--unix_socket_directories={folder}", *settings],
            stdout=log, stderr=log, start_new_session=True, **settled,
        )  # fmt: skip
    try:
        _wait(running, folder)
        yield f"postgresql+psycopg://colonywatch@/postgres?host={folder}"
    finally:
        running.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        running.wait()


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    known = {one.pw_name: one for one in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _wait(running: subprocess.Popen[bytes], folder: Path) -> None:
    """Until it takes connections. Its last line of postmaster.pid says so."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and running.poll() is None:
        try:
            if (folder / "data/postmaster.pid").read_text().split()[-1] == "ready":
                return
        except (OSError, IndexError):
            pass
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL does not start: {(folder / 'log').read_text().strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--if-there", action="store_true", help="without one, say so and exit 0")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run with it")
    given = parser.parse_args(arguments)
    if not given.command:
        parser.error("which command?")
    if os.environ.get(VARIABLE):
        return subprocess.run(given.command).returncode
    if given.if_there and programs() is None:
        print("not run on PostgreSQL: none is installed here (apt-get install postgresql)")
        return 0
    with tempfile.TemporaryDirectory(prefix="colonywatch-postgres-", dir="/tmp") as folder:
        try:
            with server(Path(folder)) as url:
                return subprocess.run(given.command, env={**os.environ, VARIABLE: url}).returncode
        except RuntimeError as problem:
            print(problem, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
