"""Bringing a record to the present form. The only user of Alembic, beside the migrations.

Alembic takes a while to load, and a record that is in the present form needs none of it:
`Database` loads this module for another one only.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from monitor.errors import RecordError

MIGRATIONS = Path(__file__).parent / "migrations"
# Forms of the record that no release ever wrote.
_BEFORE_THE_FIRST_RELEASE = {f"{number:04}" for number in range(1, 9)}


def newest_revision() -> str | None:
    """The form that the migrations lead to."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def is_known_revision(revision: str | None, migrations: Path = MIGRATIONS) -> bool:
    """Whether a record in that form can be brought to the present one."""
    script = ScriptDirectory(str(migrations))
    return revision in {one.revision for one in script.walk_revisions()}


def migrate(engine: Engine, where: str, migrations: Path = MIGRATIONS) -> None:
    """Bring a record, new ones too, to the present form: all of it or nothing.

    where : what a person calls the record
    migrations : Alembic's folder with the steps to that form

    Raises RecordError where it is in a form that is not known, or would lose a match of its rows.
    """
    with engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    if present in _BEFORE_THE_FIRST_RELEASE:
        raise RecordError(
            f"{where}: was written before the first release (revision {present}), and such records "
            "are not carried over. Keep the file, give a new record.database or record.folder (or "
            "--state DIR), and read the captures again with colonywatch process FOLDER"
        )
    if present is not None and not is_known_revision(present, migrations):
        raise RecordError(
            f"{where}: was written by a newer colonywatch (revision {present}); install that "
            "version, or give another record.database"
        )
    is_sqlite = engine.dialect.name == "sqlite"
    script = Config()
    script.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with engine.execution_options(writes=True).connect() as connection:
        if is_sqlite:
            # Tables that others point at are replaced; afterwards every pointer is looked at.
            _set_foreign_keys(connection, on=False)
        try:
            with connection.begin():
                script.attributes["connection"] = connection
                command.upgrade(script, "head")
                if is_sqlite:
                    _check_foreign_keys(connection)
        finally:
            if is_sqlite:
                _set_foreign_keys(connection, on=True)


def _set_foreign_keys(connection: Connection, *, on: bool) -> None:
    """Only outside of a transaction, so not through SQLAlchemy, which would begin one."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")


def _check_foreign_keys(connection: Connection) -> None:
    wrong = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if wrong is not None:
        raise RecordError(
            f"a row of {wrong[0]} points at a row of {wrong[2]} that is not there; nothing was "
            "changed. Restore a backup, or ask with this message"
        )
