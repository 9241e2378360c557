"""the tables of the first release"""

import sqlalchemy as sa
from alembic import op

import monitor.record.detail_codec
import monitor.record.tables.column_types

revision = '0.1.0'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Long by the tables that it makes.
    is_sqlite = op.get_bind().dialect.name == 'sqlite'
    op.create_table('analysis',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('model_name', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('model_sha256', sa.String(length=64), nullable=False),
    sa.Column('settings_sha256', sa.String(length=64), nullable=False),
    sa.Column('runner', sa.String(length=80), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_analysis')),
    sa.UniqueConstraint('model_sha256', 'settings_sha256', 'model_name', 'runner', name=op.f('uq_analysis_model_sha256_settings_sha256_model_name_runner'))
    )
    op.create_table('audit',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('who', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('what', sa.String(length=60), nullable=False),
    sa.Column('subject', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('note', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit'))
    )
    op.create_table('calibration',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('kind', sa.String(length=10), nullable=False),
    sa.Column('source', sa.String(length=100), nullable=False),
    sa.Column('objective', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('made_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('made_by', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('max_age_days', sa.Double(), nullable=True),
    sa.Column('rms_um', sa.Double(), nullable=True),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.CheckConstraint("kind IN ('camera', 'picker')", name=op.f('ck_calibration_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_calibration'))
    )
    op.create_index('ix_calibration_source_kind_made_at', 'calibration', ['source', 'kind', 'made_at'], unique=False)
    op.create_table('digest',
    sa.Column('due_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('since', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('written_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('due_at', name=op.f('pk_digest'))
    )
    op.create_table('dish',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('label', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('source', sa.String(length=100), nullable=False),
    sa.Column('began_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('ended_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('parent_id', sa.Integer(), nullable=True),
    sa.Column('passage', sa.Integer(), server_default='0', nullable=False),
    sa.Column('next_colony', sa.Integer(), server_default='1', nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('status_since', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('severity', sa.String(length=20), nullable=True),
    sa.Column('judged_from', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('last_new_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('repeats', sa.Integer(), server_default='0', nullable=False),
    sa.Column('zone', sa.String(length=64), nullable=True),
    sa.Column('undecided_since', monitor.record.tables.column_types.Moment(), nullable=True),
    sa.Column('created_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['parent_id'], ['dish.id'], name=op.f('fk_dish_parent_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dish')),
    sa.UniqueConstraint('name', name=op.f('uq_dish_name'))
    )
    op.create_index('ix_dish_label_source', 'dish', ['label', 'source'], unique=False)
    op.create_index(op.f('ix_dish_parent_id'), 'dish', ['parent_id'], unique=False)
    op.create_table('folder',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('path', monitor.record.tables.column_types.FilePath(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_folder')),
    sa.UniqueConstraint('path', name=op.f('uq_folder_path'))
    )
    op.create_table('outbox',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('channel', sa.String(length=20), nullable=False),
    sa.Column('subject_id', sa.String(length=40), nullable=False),
    sa.Column('recipient', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('created_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('next_try_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('last_error', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('delivered_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('delivered_to', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('failed_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('about', sa.String(length=100), nullable=True),
    sa.Column('together', sa.Integer(), nullable=True),
    sa.Column('held_until', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('unreachable', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column('mail_id', sa.String(length=40), nullable=False),
    sa.Column('refused_with', sa.String(length=64), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox'))
    )
    op.create_index('ix_outbox_delivered_at_next_try_at', 'outbox', ['delivered_at', 'next_try_at'], unique=False)
    op.create_table('pick_log',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('path', monitor.record.tables.column_types.FilePath(), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('reason', sa.String(length=40), nullable=True),
    sa.Column('message', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('plans', sa.JSON(), nullable=False),
    sa.Column('first_seen_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('finished_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pick_log')),
    sa.UniqueConstraint('sha256', name=op.f('uq_pick_log_sha256'))
    )
    op.create_table('process',
    sa.Column('owner', sa.String(length=120), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('host', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('started_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('beat_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('owner', name=op.f('pk_process'))
    )
    op.create_table('record',
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('key', sa.String(length=36), nullable=False),
    sa.Column('made_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('restored_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('restored_from', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_record'))
    )
    op.create_table('source',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('host', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('path', monitor.record.tables.column_types.FilePath(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_source'))
    )
    op.create_table('annotation',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('text', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('who', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('created_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_annotation_dish_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_annotation'))
    )
    op.create_index('ix_annotation_dish_id_at', 'annotation', ['dish_id', 'at'], unique=False)
    op.create_table('file',
    sa.Column('folder_id', sa.Integer(), nullable=False),
    sa.Column('name', monitor.record.tables.column_types.FilePath(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('mtime_ns', sa.BigInteger(), nullable=False),
    sa.Column('capture_id', sa.Integer(), nullable=False),
    sa.Column('is_copy', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.ForeignKeyConstraint(['folder_id'], ['folder.id'], name=op.f('fk_file_folder_id')),
    sa.PrimaryKeyConstraint('folder_id', 'name', name=op.f('pk_file')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_file_capture_id', 'file', ['capture_id'], unique=False, sqlite_where=sa.text('is_copy = 1'), postgresql_where=sa.text('is_copy'))
    op.create_table('scan',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('key', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('first_at', monitor.record.tables.column_types.Moment(), nullable=False),
    sa.Column('last_at', monitor.record.tables.column_types.Moment(), nullable=False),
    sa.Column('last_taken_at', monitor.record.tables.column_types.Moment(), nullable=False),
    sa.Column('dirty', sa.Boolean(), nullable=False),
    sa.Column('is_misdated', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column('stand', sa.Text(), nullable=True),
    sa.Column('reading_id', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_scan_dish_id')),
    # Scans and readings point at one another. SQLite takes a table that is still to come.
    *([sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_scan_reading_id'))] if is_sqlite else []),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_scan'))
    )
    op.create_index('ix_scan_dirty', 'scan', ['last_taken_at'], unique=False, sqlite_where=sa.text('dirty = 1'), postgresql_where=sa.text('dirty'))
    op.create_index('ix_scan_dish_id_first_at', 'scan', ['dish_id', 'first_at'], unique=False)
    op.create_index('ix_scan_without_reading', 'scan', ['dish_id'], unique=False, sqlite_where=sa.text('reading_id IS NULL'), postgresql_where=sa.text('reading_id IS NULL'))
    op.create_index('uq_scan_dish_id_key', 'scan', ['dish_id', 'key'], unique=True, sqlite_where=sa.text('key IS NOT NULL'), postgresql_where=sa.text('key IS NOT NULL'))
    op.create_table('scale',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('source', sa.String(length=100), nullable=False),
    sa.Column('place', monitor.record.tables.column_types.FilePath(), nullable=True),
    sa.Column('magnification', sa.String(length=20), nullable=False),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('columns', sa.Integer(), nullable=False),
    sa.Column('um', sa.Double(), nullable=False),
    sa.Column('low_um', sa.Double(), nullable=False),
    sa.Column('high_um', sa.Double(), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('since', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('set_by', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('looks_like_um', sa.Double(), nullable=True),
    sa.CheckConstraint("state IN ('open', 'settled', 'set')", name=op.f('ck_scale_state')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_scale'))
    )
    op.create_index(op.f('ix_scale_source'), 'scale', ['source'], unique=False)
    op.create_table('capture',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('sha256_head', monitor.record.tables.column_types.Digest(length=16), nullable=True),
    sa.Column('sha256_tail', monitor.record.tables.column_types.Digest(length=16), nullable=True),
    sa.Column('folder_id', sa.Integer(), nullable=False),
    sa.Column('name', monitor.record.tables.column_types.FilePath(), nullable=False),
    sa.Column('source', sa.String(length=100), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('reason', sa.String(length=40), nullable=True),
    sa.Column('message', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('crashes', sa.Integer(), nullable=False),
    sa.Column('next_try_at', monitor.record.tables.column_types.Moment(), nullable=True),
    sa.Column('claimed_by', sa.String(length=120), nullable=True),
    sa.Column('first_seen_at', monitor.record.tables.column_types.Moment(), nullable=False),
    sa.Column('finished_at', monitor.record.tables.column_types.Moment(), nullable=True),
    sa.Column('identity', monitor.record.tables.column_types.Digest(length=8), nullable=True),
    sa.Column('named_dish', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('field', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('channel', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('plane', sa.Integer(), nullable=True),
    sa.Column('projection', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('acquired_at', monitor.record.tables.column_types.Moment(), nullable=True),
    sa.Column('is_local', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column('is_misdated', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column('fingerprint', monitor.record.tables.column_types.Digest(length=8), nullable=True),
    sa.Column('scan_id', sa.Integer(), nullable=True),
    sa.Column('scale_id', sa.Integer(), nullable=True),
    sa.Column('assumed_um', sa.Double(), nullable=True),
    sa.CheckConstraint("state IN ('waiting', 'working', 'measured', 'recorded', 'unreadable')", name=op.f('ck_capture_state')),
    sa.ForeignKeyConstraint(['folder_id'], ['folder.id'], name=op.f('fk_capture_folder_id')),
    sa.ForeignKeyConstraint(['scale_id'], ['scale.id'], name=op.f('fk_capture_scale_id')),
    sa.ForeignKeyConstraint(['scan_id'], ['scan.id'], name=op.f('fk_capture_scan_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_capture'))
    )
    op.create_index('ix_capture_fingerprint', 'capture', ['fingerprint'], unique=False)
    op.create_index('ix_capture_scale_id', 'capture', ['scale_id'], unique=False, sqlite_where=sa.text('scale_id IS NOT NULL'), postgresql_where=sa.text('scale_id IS NOT NULL'))
    op.create_index(op.f('ix_capture_scan_id'), 'capture', ['scan_id'], unique=False)
    op.create_index(op.f('ix_capture_sha256_head'), 'capture', ['sha256_head'], unique=False)
    op.create_index('ix_capture_state_next_try_at', 'capture', ['state', 'next_try_at'], unique=False, sqlite_where=sa.text("state <> 'recorded'"), postgresql_where=sa.text("state <> 'recorded'"))
    op.create_table('reading',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('scan_id', sa.Integer(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('at', monitor.record.tables.column_types.Moment(), nullable=False),
    sa.Column('captures', sa.Integer(), nullable=False),
    sa.Column('background_um2', sa.Double(), nullable=True),
    sa.Column('undifferentiated_um2', sa.Double(), nullable=True),
    sa.Column('differentiated_um2', sa.Double(), nullable=True),
    sa.Column('differentiated_fraction', sa.Double(), nullable=True),
    sa.Column('confluence', sa.Double(), nullable=True),
    sa.Column('uncertainty', sa.Double(), nullable=False),
    sa.Column('pixel_size_um', sa.Double(), nullable=True),
    sa.Column('analysis_id', sa.Integer(), nullable=False),
    sa.Column('colonies', sa.Integer(), nullable=False),
    sa.Column('doubts', sa.JSON(), nullable=False),
    sa.Column('joined', sa.String(length=10), server_default='one field', nullable=False),
    sa.Column('imaged_share', sa.Double(), nullable=True),
    sa.Column('colony_um2', sa.Double(), nullable=True),
    sa.Column('doubt', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('assumed_pixel_size_um', sa.Double(), nullable=True),
    sa.Column('created_at', monitor.record.tables.column_types.Moment(), nullable=False),
    sa.ForeignKeyConstraint(['analysis_id'], ['analysis.id'], name=op.f('fk_reading_analysis_id')),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_reading_dish_id')),
    sa.ForeignKeyConstraint(['scan_id'], ['scan.id'], name=op.f('fk_reading_scan_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reading')),
    sa.UniqueConstraint('scan_id', 'version', name=op.f('uq_reading_scan_id_version'))
    )
    if not is_sqlite:
        op.create_foreign_key(op.f('fk_scan_reading_id'), 'scan', 'reading', ['reading_id'], ['id'])
    op.create_index('ix_reading_dish_id_at', 'reading', ['dish_id', 'at'], unique=False)
    op.create_table('alert',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=True),
    sa.Column('source', sa.String(length=100), nullable=True),
    sa.Column('topic', sa.String(length=40), server_default='differentiation', nullable=False),
    sa.Column('severity', sa.String(length=20), server_default='warning', nullable=False),
    sa.Column('text', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('held_back', sa.String(length=20), nullable=True),
    sa.Column('role', sa.String(length=10), server_default='change', nullable=False),
    sa.Column('reading_id', sa.Integer(), nullable=True),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('fraction', sa.Double(), nullable=True),
    sa.Column('created_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('closed_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('acknowledged_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('acknowledged_by', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('note', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('snoozed_until', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_alert_dish_id')),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_alert_reading_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alert'))
    )
    op.create_index(op.f('ix_alert_dish_id'), 'alert', ['dish_id'], unique=False)
    op.create_table('scale_evidence',
    sa.Column('scale_id', sa.Integer(), nullable=False),
    sa.Column('capture_id', sa.Integer(), nullable=False),
    sa.Column('dish', monitor.record.tables.column_types.AnyText(), nullable=False),
    sa.Column('at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('is_check', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['capture_id'], ['capture.id'], name=op.f('fk_scale_evidence_capture_id')),
    sa.ForeignKeyConstraint(['scale_id'], ['scale.id'], name=op.f('fk_scale_evidence_scale_id')),
    sa.PrimaryKeyConstraint('scale_id', 'capture_id', name=op.f('pk_scale_evidence'))
    )
    op.create_table('measurement',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('capture_id', sa.Integer(), nullable=False),
    sa.Column('analysis_id', sa.Integer(), nullable=False),
    sa.Column('background_px', sa.BigInteger(), nullable=False),
    sa.Column('undifferentiated_px', sa.BigInteger(), nullable=False),
    sa.Column('differentiated_px', sa.BigInteger(), nullable=False),
    sa.Column('pixel_size_um', sa.Double(), nullable=True),
    sa.Column('stage_x_um', sa.Double(), nullable=True),
    sa.Column('stage_y_um', sa.Double(), nullable=True),
    sa.Column('stage_z_um', sa.Double(), nullable=True),
    sa.Column('uncertainty', sa.Double(), nullable=False),
    sa.Column('created_at', monitor.record.tables.column_types.Moment(), nullable=False),
    sa.Column('beside', monitor.record.tables.column_types.Digest(length=8), nullable=False),
    sa.Column('assumed_um', sa.Double(), nullable=False),
    sa.Column('detail', monitor.record.detail_codec.EncodedDetail(), nullable=False),
    sa.ForeignKeyConstraint(['analysis_id'], ['analysis.id'], name=op.f('fk_measurement_analysis_id')),
    sa.ForeignKeyConstraint(['capture_id'], ['capture.id'], name=op.f('fk_measurement_capture_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_measurement')),
    sa.UniqueConstraint('capture_id', 'analysis_id', 'beside', 'assumed_um', name=op.f('uq_measurement_capture_id_analysis_id_beside_assumed_um'))
    )
    op.create_table('reading_colonies',
    sa.Column('reading_id', sa.Integer(), nullable=False),
    sa.Column('packed', monitor.record.detail_codec.EncodedDetail(), nullable=False),
    sa.Column('maps', sa.LargeBinary(), nullable=True),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_reading_colonies_reading_id')),
    sa.PrimaryKeyConstraint('reading_id', name=op.f('pk_reading_colonies'))
    )
    op.create_table('removal_plan',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('dish_id', sa.Integer(), nullable=False),
    sa.Column('reading_id', sa.Integer(), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('created_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('expires_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('approved_by', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('approved_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('handover', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('picked_at', monitor.record.tables.column_types.UtcDateTime(), nullable=True),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['dish_id'], ['dish.id'], name=op.f('fk_removal_plan_dish_id')),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_removal_plan_reading_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_removal_plan'))
    )
    op.create_index(op.f('ix_removal_plan_dish_id'), 'removal_plan', ['dish_id'], unique=False)
    op.create_index(op.f('ix_removal_plan_status'), 'removal_plan', ['status'], unique=False)
    op.create_table('reading_measurement',
    sa.Column('reading_id', sa.Integer(), nullable=False),
    sa.Column('measurement_id', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['measurement_id'], ['measurement.id'], name=op.f('fk_reading_measurement_measurement_id')),
    sa.ForeignKeyConstraint(['reading_id'], ['reading.id'], name=op.f('fk_reading_measurement_reading_id')),
    sa.PrimaryKeyConstraint('reading_id', 'measurement_id', name=op.f('pk_reading_measurement')),
    sqlite_with_rowid=False
    )
    op.create_table('region_fate',
    sa.Column('plan_id', sa.String(length=40), nullable=False),
    sa.Column('region_id', sa.String(length=80), nullable=False),
    sa.Column('outcome', sa.String(length=20), nullable=False),
    sa.Column('reason', monitor.record.tables.column_types.AnyText(), nullable=True),
    sa.Column('told_at', monitor.record.tables.column_types.UtcDateTime(), nullable=False),
    sa.Column('hits', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('check_result', sa.String(length=20), nullable=True),
    sa.Column('gone_share', sa.Double(), nullable=True),
    sa.Column('checked_by', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['checked_by'], ['reading.id'], name=op.f('fk_region_fate_checked_by')),
    sa.ForeignKeyConstraint(['plan_id'], ['removal_plan.id'], name=op.f('fk_region_fate_plan_id')),
    sa.PrimaryKeyConstraint('plan_id', 'region_id', name=op.f('pk_region_fate'))
    )


def downgrade() -> None:
    raise NotImplementedError('the first release has no former one')

