"""the audit trail becomes a chain that nothing can be taken out of"""


from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from monitor.culture import AuditEntry
from monitor.culture.audit_trail import beginning, plain
from monitor.record.audit import chained, protection
from monitor.record.tables.column_types import AnyText, UtcDateTime

revision = '0.2.0'
down_revision = '0.1.0'
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    former = sa.table(
        'audit', sa.column('id'), sa.column('at', UtcDateTime()), sa.column('who', AnyText()),
        sa.column('what'), sa.column('subject', AnyText()), sa.column('note', AnyText()),
    )
    rows = connection.execute(sa.select(former).order_by(former.c.id)).all()
    op.drop_table('audit')
    op.create_table('audit',
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.Column('who', AnyText(), nullable=False),
    sa.Column('what', sa.String(length=60), nullable=False),
    sa.Column('about', AnyText(), nullable=False),
    sa.Column('why', AnyText(), nullable=True),
    sa.Column('before', AnyText(), nullable=True),
    sa.Column('after', AnyText(), nullable=True),
    sa.Column('previous', sa.String(length=64), nullable=False),
    sa.Column('hash', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_audit')),
    sa.UniqueConstraint('previous', name=op.f('uq_audit_previous'))
    )
    op.create_index(op.f('ix_audit_about'), 'audit', ['about'], unique=False)
    _carry_over(connection, rows)
    for statement in protection(connection.dialect.name):
        op.execute(sa.text(statement))


def _carry_over(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> None:
    """What was written before there was a chain: nobody can say whether it was changed since."""
    key = connection.scalar(sa.text('SELECT "key" FROM record'))
    present = sa.table(
        'audit', sa.column('number'), sa.column('at', UtcDateTime()), sa.column('who', AnyText()),
        sa.column('what'), sa.column('about', AnyText()), sa.column('why', AnyText()),
        sa.column('before'), sa.column('after'), sa.column('previous'), sa.column('hash'),
    )
    head = None
    for row in rows:
        note = None if row.note is None else plain(row.note)
        entry = AuditEntry(0, row.at, plain(row.who), plain(row.what), plain(row.subject), note,
                           None, None, '', '')
        entry = chained(entry, head, beginning(key))
        connection.execute(sa.insert(present).values(**{
            column.name: getattr(entry, column.name) for column in present.columns}))
        head = entry.head
