"""Several daemons on one record and one folder, SIGKILLed at random: nothing twice, nothing lost,
and no error for what is only a race between them.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from tools.soak.soak import (
    BrokenPromiseError,
    Stream,
    check,
    kill,
    start,
    wait_until_quiet,
    write_config,
)

# What the server or SQLite says where two programs came in each other's way.
RACE = re.compile(
    r"duplicate key|UNIQUE constraint|could not serialize|deadlock|database is locked|lock timeout"
)


@contextmanager
def database_beside(url: str | None) -> Iterator[str | None]:
    """A new database on the server of `url`, dropped at the end; None for SQLite."""
    if url is None:
        yield None
        return
    name = f"soak_{time.time_ns()}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def do(statement: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(statement))

    do(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        do(f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()


def several_daemons(
    root: Path, seed: int, *, database: str | None, daemons: int, kills: int, mean_s: float
) -> str:
    """All watch the same folder. Says what was left."""
    with database_beside(database) as url:
        return _several(root, seed, url, daemons, kills, mean_s)


def _several(
    root: Path, seed: int, url: str | None, daemons: int, kills: int, mean_s: float
) -> str:
    chance = random.Random(seed)
    write_config(root, database=url)
    stream = Stream(root / "captures", seed)
    running = [start(root) for _ in range(daemons)]
    killed: Counter[str] = Counter()
    try:
        while killed.total() < kills:
            for _ in range(chance.randint(0, 3)):
                stream.write_next(chance)
            time.sleep(chance.expovariate(1 / mean_s))
            which, whom = chance.randrange(daemons), chance.choice(("daemon", "worker"))
            if kill(running[which], whom):
                killed[whom] += 1
            if whom == "daemon" or running[which].poll() is not None:
                running[which].wait(10)
                running[which] = start(root)
        wait_until_quiet(root, stream, running[0])
        check(root, stream)
        _refuse_races(root)
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            try:
                one.wait(60)
            except subprocess.TimeoutExpired:
                one.kill()
    return (
        f"{daemons} daemons; of them daemon {killed['daemon']}, worker {killed['worker']} times "
        f"killed; {stream.good} captures read once, {stream.bad} broken ones aside, no race seen"
    )


def _refuse_races(root: Path) -> None:
    log = (root / "daemon.log").read_text(errors="replace").splitlines()
    raced = [line for line in log if RACE.search(line)]
    if raced:
        raise BrokenPromiseError(f"{len(raced)} errors of races:\n" + "\n".join(raced[:5]))
