"""lines of dishes: their begin, end, parent and annotations"""

import sqlalchemy as sa
from alembic import op

import monitor.record.tables

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('dish', schema=None) as batch_op:
        batch_op.add_column(sa.Column('label', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('began_at', monitor.record.tables.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('ended_at', monitor.record.tables.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('parent_id', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('passage', sa.Integer(), server_default='0', nullable=False))
    op.execute("UPDATE dish SET label = name")
    with op.batch_alter_table('dish', schema=None) as batch_op:
        batch_op.alter_column('label', existing_type=sa.Text(), nullable=False)
        batch_op.create_foreign_key('fk_dish_parent_id', 'dish', ['parent_id'], ['id'])
        batch_op.create_index('ix_dish_label', ['label'], unique=False)
        batch_op.create_index('ix_dish_parent_id', ['parent_id'], unique=False)

    op.create_table('annotation',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('who', sa.Text(), nullable=False),
    sa.Column('created_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_annotation_dish_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_annotation'))
    )
    with op.batch_alter_table('annotation', schema=None) as batch_op:
        batch_op.create_index('ix_annotation_dish_id_at', ['dish_id', 'at'], unique=False)


def downgrade() -> None:
    op.drop_table('annotation')
    with op.batch_alter_table('dish', schema=None) as batch_op:
        batch_op.drop_index('ix_dish_parent_id')
        batch_op.drop_index('ix_dish_label')
        batch_op.drop_constraint('fk_dish_parent_id', type_='foreignkey')
        batch_op.drop_column('passage')
        batch_op.drop_column('parent_id')
        batch_op.drop_column('ended_at')
        batch_op.drop_column('began_at')
        batch_op.drop_column('label')
