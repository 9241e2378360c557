"""what programs show on behalf of people"""

import sqlalchemy as sa
from alembic import op

from monitor.record.tables.column_types import AnyText, UtcDateTime

revision = '0.2.0_tokens'
down_revision = '0.2.0_people'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('token',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('token_sha256', sa.String(length=64), nullable=False),
    sa.Column('person_id', sa.Integer(), nullable=False),
    sa.Column('label', AnyText(), nullable=False),
    sa.Column('made_at', UtcDateTime(), nullable=False),
    sa.Column('seen_at', UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_token_person_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_token')),
    sa.UniqueConstraint('token_sha256', name=op.f('uq_token_token_sha256'))
    )
    op.create_index('ix_token_person_id', 'token', ['person_id'], unique=False)
