"""rows that grow with each capture take a third of the room"""

from alembic import op
from sqlalchemy import Connection

from monitor.errors import RecordError
from monitor.record.migrations import smaller_rows

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != 'sqlite':
        _make_anew(connection)
        return
    smaller_rows.begin(connection)
    while smaller_rows.copy_some(connection):
        pass
    smaller_rows.finish(op)


def _make_anew(connection: Connection) -> None:
    """On a database server no version before this one was ever in use."""
    for name in smaller_rows.MOVED:
        if connection.exec_driver_sql(f'SELECT 1 FROM {name} LIMIT 1').first() is not None:
            raise RecordError(
                'this database holds readings of a version from before 0.1.0, which is carried '
                'over on SQLite only; begin with an empty database'
            )
    for name in smaller_rows.MOVED:
        op.execute(f'DROP TABLE {name} CASCADE')
    smaller_rows.create_tables(op, '')
    smaller_rows.create_indices(op)
    op.create_foreign_key('fk_alert_reading_id', 'alert', 'reading', ['reading_id'], ['id'])
    op.create_foreign_key('fk_removal_plan_reading_id', 'removal_plan', 'reading', ['reading_id'], ['id'])
    op.create_foreign_key('fk_region_fate_checked_by', 'region_fate', 'reading', ['checked_by'], ['id'])


def downgrade() -> None:
    raise RecordError('there is no way back to the larger rows; restore a backup')
