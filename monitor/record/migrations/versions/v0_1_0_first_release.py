"""the tables of the first release"""

from alembic import op

from monitor.record.tables import Base

revision = '0.1.0'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    Base.metadata.create_all(op.get_bind())


def downgrade() -> None:
    Base.metadata.drop_all(op.get_bind())
