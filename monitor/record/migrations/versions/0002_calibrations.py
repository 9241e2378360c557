"""calibrations"""

import sqlalchemy as sa
from alembic import op

import monitor.record.tables

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('calibration',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('kind', sa.String(length=10), nullable=False),
    sa.Column('source', sa.String(length=100), nullable=False),
    sa.Column('objective', sa.Text(), nullable=True),
    sa.Column('made_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('max_age_days', sa.Double(), nullable=True),
    sa.Column('rms_um', sa.Double(), nullable=True),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.CheckConstraint("kind IN ('camera', 'picker')", name=op.f('ck_calibration_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_calibration'))
    )
    with op.batch_alter_table('calibration', schema=None) as batch_op:
        batch_op.create_index('ix_calibration_source_kind_made_at', ['source', 'kind', 'made_at'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('calibration', schema=None) as batch_op:
        batch_op.drop_index('ix_calibration_source_kind_made_at')

    op.drop_table('calibration')
