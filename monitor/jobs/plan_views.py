"""A removal plan as people and pickers see it: drawn, with all that its formats need, as JSON."""

from __future__ import annotations

from monitor.config import Config
from monitor.culture import RemovalPlan
from monitor.outlets.picking import Handout, PlanImage, plan_as_json
from monitor.record.store import Store
from monitor.stage.vessels import Vessel


def picture_of(plan: RemovalPlan, store: Store, config: Config) -> bytes:
    """The plan drawn on the pictures that it was made from, as PNG."""
    # With them come matplotlib, OpenCV and SciPy, which take a second to load.
    from monitor.outlets.figures.plan import DrawnField, draw_plan
    from monitor.segmentation.label_maps import read_label_map, read_overlay

    folder = config.record.folder
    return draw_plan(
        plan,
        [
            DrawnField(
                one.capture_sha256,
                one.capture_name,
                one.measurement.shape,
                one.measurement.pixel_size_um,
                picture=read_overlay(folder, one.measurement),
                labels=read_label_map(folder, one.measurement),
            )
            for one in store.scans.scan_fields(plan.reading_id)
        ],
    )


def handout_of(plan: RemovalPlan, store: Store, config: Config) -> Handout:
    """A plan with all that its formats need."""
    wanted = config.outlets.removal
    fields = store.scans.scan_fields(plan.reading_id)
    sources = {source.name: source.vessel for source in config.sources}
    vessel = sources.get(fields[0].source, config.unlisted.vessel) if fields else None
    return Handout(
        plan,
        pictures={
            field.capture_sha256: PlanImage(
                name=field.capture_name,
                shape=field.measurement.shape,
                pixel_size_um=field.measurement.pixel_size_um,
                stage=field.measurement.stage,
            )
            for field in fields
        },
        calibration_rms_um=_rms_of(plan, store, config),
        columns=wanted.columns,
        csv=wanted.csv,
        echo=wanted.echo,
        opentrons=wanted.opentrons,
        pylabrobot=wanted.pylabrobot,
        vessel=None if vessel is None else Vessel(vessel),
        xy_device=wanted.xy_device,
        z_device=wanted.z_device,
    )


def document_of(plan: RemovalPlan, store: Store, config: Config) -> bytes:
    """The plan as its JSON document."""
    return plan_as_json(plan, calibration_rms_um=_rms_of(plan, store, config)).encode()


def _rms_of(plan: RemovalPlan, store: Store, config: Config) -> float | None:
    """The residual of the plan's calibration, while it is still known."""
    for source in (*config.sources, config.unlisted):
        if source.calibration is not None and source.calibration.id == plan.calibration_id:
            return source.calibration.rms_um
    for made in store.calibrations.all():
        if made.id == plan.calibration_id:
            return made.rms_um
    return None
