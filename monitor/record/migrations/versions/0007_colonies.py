"""colonies by their numbers; how a scan's fields were put together"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('dish', schema=None) as batch_op:
        batch_op.add_column(sa.Column('next_colony', sa.Integer(), server_default='1', nullable=False))
    with op.batch_alter_table('reading', schema=None) as batch_op:
        batch_op.add_column(sa.Column('joined', sa.String(length=10), server_default='one field', nullable=False))
        batch_op.add_column(sa.Column('imaged_share', sa.Double(), nullable=True))
        batch_op.add_column(sa.Column('colony_um2', sa.Double(), nullable=True))
    op.execute("UPDATE reading SET joined = 'added up' WHERE captures > 1")
    op.create_table('reading_colonies',
    sa.Column('reading_id', sa.Integer(), nullable=False),
    sa.Column('packed', sa.LargeBinary(), nullable=False),
    sa.Column('maps', sa.LargeBinary(), nullable=True),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_reading_colonies_reading_id')),
    sa.PrimaryKeyConstraint('reading_id', name=op.f('pk_reading_colonies'))
    )


def downgrade() -> None:
    op.drop_table('reading_colonies')
    with op.batch_alter_table('reading', schema=None) as batch_op:
        batch_op.drop_column('colony_um2')
        batch_op.drop_column('imaged_share')
        batch_op.drop_column('joined')
    with op.batch_alter_table('dish', schema=None) as batch_op:
        batch_op.drop_column('next_colony')
