"""severities and silences"""

import sqlalchemy as sa
from alembic import op

import monitor.record.tables

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('alert', schema=None) as batch_op:
        batch_op.add_column(sa.Column('source', sa.String(length=100), nullable=True))
        batch_op.add_column(sa.Column('topic', sa.String(length=40), server_default='differentiation', nullable=False))
        batch_op.add_column(sa.Column('severity', sa.String(length=20), server_default='warning', nullable=False))
        batch_op.add_column(sa.Column('text', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('held_back', sa.String(length=20), nullable=True))
        batch_op.alter_column('dish_id',
               existing_type=sa.INTEGER(),
               nullable=True)

    with op.batch_alter_table('capture', schema=None) as batch_op:
        batch_op.add_column(sa.Column('fingerprint', sa.String(length=64), nullable=True))

    with op.batch_alter_table('dish', schema=None) as batch_op:
        batch_op.add_column(sa.Column('severity', sa.String(length=20), nullable=True))
        batch_op.add_column(sa.Column('last_new_at', monitor.record.tables.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('repeats', sa.Integer(), server_default='0', nullable=False))
    op.execute("UPDATE dish SET severity = 'warning' WHERE status = 'differentiating'")


def downgrade() -> None:
    with op.batch_alter_table('dish', schema=None) as batch_op:
        batch_op.drop_column('repeats')
        batch_op.drop_column('last_new_at')
        batch_op.drop_column('severity')

    with op.batch_alter_table('capture', schema=None) as batch_op:
        batch_op.drop_column('fingerprint')

    with op.batch_alter_table('alert', schema=None) as batch_op:
        batch_op.alter_column('dish_id',
               existing_type=sa.INTEGER(),
               nullable=False)
        batch_op.drop_column('held_back')
        batch_op.drop_column('text')
        batch_op.drop_column('severity')
        batch_op.drop_column('topic')
        batch_op.drop_column('source')
