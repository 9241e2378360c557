"""first tables"""

import sqlalchemy as sa
from alembic import op

import monitor.record.tables

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('audit',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('who', sa.Text(), nullable=False),
    sa.Column('what', sa.String(length=60), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit'))
    )
    op.create_table('dish',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('source', sa.String(length=100), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('status_since', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('created_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dish')),
    sa.UniqueConstraint('name', name=op.f('uq_dish_name'))
    )
    op.create_table('outbox',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('channel', sa.String(length=20), nullable=False),
    sa.Column('subject_id', sa.String(length=40), nullable=False),
    sa.Column('recipient', sa.Text(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('created_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('next_try_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('last_error', sa.Text(), nullable=True),
    sa.Column('delivered_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('delivered_to', sa.Text(), nullable=True),
    sa.Column('failed_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox'))
    )
    with op.batch_alter_table('outbox', schema=None) as batch_op:
        batch_op.create_index('ix_outbox_delivered_at_next_try_at', ['delivered_at', 'next_try_at'], unique=False)

    op.create_table('process',
    sa.Column('owner', sa.String(length=120), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('started_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('beat_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('owner', name=op.f('pk_process'))
    )
    op.create_table('scan',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('key', sa.Text(), nullable=True),
    sa.Column('first_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('last_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('last_taken_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('dirty', sa.Boolean(), nullable=False),
    sa.Column('reading_id', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_scan_dish_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_scan')),
    sa.UniqueConstraint('dish_id', 'key', name=op.f('uq_scan_dish_id_key'))
    )
    with op.batch_alter_table('scan', schema=None) as batch_op:
        batch_op.create_index('ix_scan_dirty_last_taken_at', ['dirty', 'last_taken_at'], unique=False)
        batch_op.create_index('ix_scan_dish_id_first_at', ['dish_id', 'first_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_scan_reading_id'), ['reading_id'], unique=False)

    op.create_table('capture',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=True),
    sa.Column('path', monitor.record.tables.FilePath(), nullable=False),
    sa.Column('source', sa.String(length=100), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('reason', sa.String(length=40), nullable=True),
    sa.Column('message', sa.Text(), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('crashes', sa.Integer(), nullable=False),
    sa.Column('next_try_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('claimed_by', sa.String(length=120), nullable=True),
    sa.Column('first_seen_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('finished_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('named_dish', sa.Text(), nullable=True),
    sa.Column('field', sa.Text(), nullable=True),
    sa.Column('acquired_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('scan_id', sa.Integer(), nullable=True),
    sa.CheckConstraint("state IN ('waiting', 'working', 'measured', 'recorded', 'unreadable')", name=op.f('ck_capture_state')),
    sa.ForeignKeyConstraint(['scan_id'], ['scan.id'], name=op.f('fk_capture_scan_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_capture')),
    sa.UniqueConstraint('sha256', name=op.f('uq_capture_sha256'))
    )
    with op.batch_alter_table('capture', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_capture_scan_id'), ['scan_id'], unique=False)
        batch_op.create_index('ix_capture_state_next_try_at', ['state', 'next_try_at'], unique=False)

    op.create_table('reading',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('scan_id', sa.Integer(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('captures', sa.Integer(), nullable=False),
    sa.Column('background_um2', sa.Double(), nullable=True),
    sa.Column('undifferentiated_um2', sa.Double(), nullable=True),
    sa.Column('differentiated_um2', sa.Double(), nullable=True),
    sa.Column('differentiated_fraction', sa.Double(), nullable=True),
    sa.Column('confluence', sa.Double(), nullable=True),
    sa.Column('uncertainty', sa.Double(), nullable=False),
    sa.Column('pixel_size_um', sa.Double(), nullable=True),
    sa.Column('model_sha256', sa.String(length=64), nullable=False),
    sa.Column('settings_sha256', sa.String(length=64), nullable=False),
    sa.Column('colonies', sa.Integer(), nullable=False),
    sa.Column('doubts', sa.JSON(), nullable=False),
    sa.Column('created_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_reading_dish_id')),
    sa.ForeignKeyConstraint(['scan_id'], ['scan.id'], name=op.f('fk_reading_scan_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reading')),
    sa.UniqueConstraint('scan_id', 'version', name=op.f('uq_reading_scan_id_version'))
    )
    with op.batch_alter_table('reading', schema=None) as batch_op:
        batch_op.create_index('ix_reading_dish_id_at', ['dish_id', 'at'], unique=False)

    op.create_table('alert',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('reading_id', sa.Integer(), nullable=True),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('fraction', sa.Double(), nullable=True),
    sa.Column('created_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('closed_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('acknowledged_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('acknowledged_by', sa.Text(), nullable=True),
    sa.Column('note', sa.Text(), nullable=True),
    sa.Column('snoozed_until', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_alert_dish_id')),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_alert_reading_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alert'))
    )
    with op.batch_alter_table('alert', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_alert_dish_id'), ['dish_id'], unique=False)

    op.create_table('file',
    sa.Column('path', monitor.record.tables.FilePath(), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('mtime_ns', sa.Integer(), nullable=False),
    sa.Column('capture_id', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['capture_id'], ['capture.id'], name=op.f('fk_file_capture_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('path', name=op.f('pk_file'))
    )
    with op.batch_alter_table('file', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_file_capture_id'), ['capture_id'], unique=False)

    op.create_table('measurement',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('capture_id', sa.Integer(), nullable=False),
    sa.Column('model_name', sa.Text(), nullable=False),
    sa.Column('model_sha256', sa.String(length=64), nullable=False),
    sa.Column('settings_sha256', sa.String(length=64), nullable=False),
    sa.Column('background_px', sa.Integer(), nullable=False),
    sa.Column('undifferentiated_px', sa.Integer(), nullable=False),
    sa.Column('differentiated_px', sa.Integer(), nullable=False),
    sa.Column('pixel_size_um', sa.Double(), nullable=True),
    sa.Column('stage_x_um', sa.Double(), nullable=True),
    sa.Column('stage_y_um', sa.Double(), nullable=True),
    sa.Column('stage_z_um', sa.Double(), nullable=True),
    sa.Column('uncertainty', sa.Double(), nullable=False),
    sa.Column('overlay', sa.Text(), nullable=True),
    sa.Column('label_map', sa.Text(), nullable=True),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.Column('created_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['capture_id'], ['capture.id'], name=op.f('fk_measurement_capture_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_measurement')),
    sa.UniqueConstraint('capture_id', 'model_sha256', 'settings_sha256', name=op.f('uq_measurement_capture_id_model_sha256_settings_sha256'))
    )
    op.create_table('removal_plan',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('reading_id', sa.Integer(), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('created_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('expires_at', monitor.record.tables.UtcDateTime(), nullable=False),
    sa.Column('approved_by', sa.Text(), nullable=True),
    sa.Column('approved_at', monitor.record.tables.UtcDateTime(), nullable=True),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_removal_plan_dish_id')),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_removal_plan_reading_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_removal_plan'))
    )
    with op.batch_alter_table('removal_plan', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_removal_plan_dish_id'), ['dish_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_removal_plan_status'), ['status'], unique=False)

    op.create_table('reading_measurement',
    sa.Column('reading_id', sa.Integer(), nullable=False),
    sa.Column('measurement_id', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['measurement_id'], ['measurement.id'], name=op.f('fk_reading_measurement_measurement_id')),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_reading_measurement_reading_id')),
    sa.PrimaryKeyConstraint('reading_id', 'measurement_id', name=op.f('pk_reading_measurement'))
    )
    with op.batch_alter_table('reading_measurement', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_reading_measurement_measurement_id'), ['measurement_id'], unique=False)

    # scan and reading point at each other, so one of the two keys comes after both tables.
    with op.batch_alter_table('scan', schema=None) as batch_op:
        batch_op.create_foreign_key('fk_scan_reading_id', 'reading', ['reading_id'], ['id'])


def downgrade() -> None:
    with op.batch_alter_table('scan', schema=None) as batch_op:
        batch_op.drop_constraint('fk_scan_reading_id', type_='foreignkey')

    with op.batch_alter_table('reading_measurement', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_reading_measurement_measurement_id'))

    op.drop_table('reading_measurement')
    with op.batch_alter_table('removal_plan', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_removal_plan_status'))
        batch_op.drop_index(batch_op.f('ix_removal_plan_dish_id'))

    op.drop_table('removal_plan')
    op.drop_table('measurement')
    with op.batch_alter_table('file', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_file_capture_id'))

    op.drop_table('file')
    with op.batch_alter_table('alert', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_alert_dish_id'))

    op.drop_table('alert')
    with op.batch_alter_table('reading', schema=None) as batch_op:
        batch_op.drop_index('ix_reading_dish_id_at')

    op.drop_table('reading')
    with op.batch_alter_table('capture', schema=None) as batch_op:
        batch_op.drop_index('ix_capture_state_next_try_at')
        batch_op.drop_index(batch_op.f('ix_capture_scan_id'))

    op.drop_table('capture')
    with op.batch_alter_table('scan', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_scan_reading_id'))
        batch_op.drop_index('ix_scan_dish_id_first_at')
        batch_op.drop_index('ix_scan_dirty_last_taken_at')

    op.drop_table('scan')
    op.drop_table('process')
    with op.batch_alter_table('outbox', schema=None) as batch_op:
        batch_op.drop_index('ix_outbox_delivered_at_next_try_at')

    op.drop_table('outbox')
    op.drop_table('dish')
    op.drop_table('audit')
