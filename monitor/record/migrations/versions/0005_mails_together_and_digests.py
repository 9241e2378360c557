"""mails together, digests"""

import sqlalchemy as sa
from alembic import op

import monitor.record.tables

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('outbox', schema=None) as batch_op:
        batch_op.add_column(sa.Column('about', sa.String(length=100), nullable=True))
        batch_op.add_column(sa.Column('together', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('held_until', monitor.record.tables.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('unreachable', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table('digest',
    sa.Column('due_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('since', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('written_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('due_at', name=op.f('pk_digest'))
    )


def downgrade() -> None:
    op.drop_table('digest')
    with op.batch_alter_table('outbox', schema=None) as batch_op:
        batch_op.drop_column('unreachable')
        batch_op.drop_column('held_until')
        batch_op.drop_column('together')
        batch_op.drop_column('about')
