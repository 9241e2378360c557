"""what became of plans"""

import sqlalchemy as sa
from alembic import op

import monitor.record.tables

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('removal_plan', schema=None) as batch_op:
        batch_op.add_column(sa.Column('handover', sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column('picked_at', monitor.record.tables.UtcDateTime(), nullable=True))
    op.create_table(
        'region_fate',
        sa.Column('plan_id', sa.String(length=40), nullable=False),
        sa.Column('region_id', sa.String(length=80), nullable=False),
        sa.Column('outcome', sa.String(length=20), nullable=False),
        sa.Column('reason', monitor.record.tables.AnyText(), nullable=True),
        sa.Column('told_at', monitor.record.tables.UtcDateTime(), nullable=False),
        sa.Column('check_result', sa.String(length=20), nullable=True),
        sa.Column('gone_share', sa.Double(), nullable=True),
        sa.Column('checked_by', sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(['checked_by'], ['reading.id'], name=op.f('fk_region_fate_checked_by')),
        sa.ForeignKeyConstraint(['plan_id'], ['removal_plan.id'], name=op.f('fk_region_fate_plan_id')),
        sa.PrimaryKeyConstraint('plan_id', 'region_id', name=op.f('pk_region_fate')),
    )
    op.create_table(
        'pick_log',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('sha256', sa.String(length=64), nullable=False),
        sa.Column('path', monitor.record.tables.FilePath(), nullable=False),
        sa.Column('state', sa.String(length=12), nullable=False),
        sa.Column('reason', sa.String(length=40), nullable=True),
        sa.Column('message', monitor.record.tables.AnyText(), nullable=True),
        sa.Column('plans', sa.JSON(), nullable=False),
        sa.Column('first_seen_at', monitor.record.tables.UtcDateTime(), nullable=False),
        sa.Column('finished_at', monitor.record.tables.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_pick_log')),
        sa.UniqueConstraint('sha256', name=op.f('uq_pick_log_sha256')),
    )
    # Plans that were out before hand-overs had a token.
    plan = sa.table(
        'removal_plan',
        sa.column('id', sa.String),
        sa.column('status', sa.String),
        sa.column('created_at', sa.DateTime),
        sa.column('approved_at', sa.DateTime),
        sa.column('handover', sa.JSON),
    )
    connection = op.get_bind()
    out = connection.execute(
        sa.select(plan.c.id, plan.c.created_at, plan.c.approved_at).where(plan.c.status.in_(['exported', 'done']))
    ).all()
    for plan_id, created_at, approved_at in out:
        at = (approved_at or created_at).isoformat() + '+00:00'
        connection.execute(
            plan.update()
            .where(plan.c.id == plan_id)
            .values(handover={'to': 'folder', 'token': 'before', 'at': at})
        )
    op.execute("UPDATE removal_plan SET status = 'picked' WHERE status = 'done'")


def downgrade() -> None:
    op.drop_table('pick_log')
    op.drop_table('region_fate')
    with op.batch_alter_table('removal_plan', schema=None) as batch_op:
        batch_op.drop_column('picked_at')
        batch_op.drop_column('handover')
    op.execute("UPDATE removal_plan SET status = 'done' WHERE status IN ('picked', 'verified')")
