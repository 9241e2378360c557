"""What a picture's scale rests on, and when a picture is refused before it is segmented."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from model.predict import Doubt, DoubtReason, Segmentation
from model.strips import as_rows
from monitor import culture
from monitor.capture.filesets import hash_file
from monitor.capture.formats.image import Image
from monitor.capture.formats.metadata import Said
from monitor.config import SourceSettings
from monitor.culture import NamedParts, PixelSize, PixelSizeSource
from monitor.errors import CaptureError, LeftOutError
from monitor.segmentation.measure_image import MeasuredImage, OverlayStyle, measure_image
from monitor.segmentation.measuring import measure
from monitor.segmentation.overlay import encode_png
from monitor.segmentation.request import FieldRequest
from tests.monitor.capture.corpus import described, tiff
from tests.monitor.capture.pictures import colonies, round_well

YOKOGAWA = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'


class StandInSegmenter:
    """Calls everything background."""

    name, sha256, window_um, runner = "stand-in", "0" * 64, 240.0, "by hand"

    def segment(self, pixels, pixel_size_um, *, inside=None):
        unsure = np.full((3, 4, 4), 0.25, np.float32)
        unsure[0] = 0.5
        mask = None if inside is None else as_rows(inside)
        return Segmentation(unsure, pixels.shape, mask, pixel_size_um, None, 0.0)


def picture(pixels=None, size=None) -> Image:
    return Image(colonies() if pixels is None else pixels, size, None, None, "TIFF")


WELL = round_well(900, radius=340.0)
WHOLE = NamedParts("plate/B2", "celigo-well")


def measured_image(
    image: Image, settings=None, *, segmenter=None, shown="dish.tif", **known
) -> MeasuredImage:
    return measure_image(
        segmenter or StandInSegmenter(),
        image,
        settings=settings or SourceSettings(),
        shown=shown,
        style=OverlayStyle("", 400, encode_png),
        **({"named": None, "sidecar": None} | known),
    )


@pytest.mark.parametrize(
    ("option", "metadata", "beside", "name", "source", "expected"),
    [
        (0.4, 0.5, 0.6, 0.7, 0.8, (0.4, "option")),
        (None, 0.5, 0.6, 0.7, 0.8, (0.5, "metadata")),
        (None, None, 0.6, 0.7, 0.8, (0.6, "sidecar")),
        (None, None, None, 0.7, 0.8, (0.7, "name")),
        (None, None, None, None, 0.8, (0.8, "source")),
        (None, None, None, None, None, (None, None)),
        (0.4, None, None, None, None, (0.4, "option")),
    ],
)
def test_the_order_of_trust_for_the_pixel_size(option, metadata, beside, name, source, expected):
    found = measured_image(
        picture(size=metadata),
        SourceSettings(pixel_size_um=source),
        named=NamedParts("dish", "dish-time", pixel_size_um=name),
        sidecar=Said(pixel_size_um=beside),
        override_um=option,
    )
    assert (found.pixel_size.known_um, found.pixel_size.source) == expected
    assert not found.pixel_size.assumed


class Lawn(StandInSegmenter):
    """Sees spread cells from edge to edge, and gives an interval for their share."""

    def segment(self, pixels, pixel_size_um, *, inside=None):
        found = super().segment(pixels, pixel_size_um, inside=inside)
        found.probabilities[:] = np.array([0.1, 0.2, 0.7], np.float32)[:, None, None]
        reasons = (DoubtReason.UNFAMILIAR,)
        return replace(found, doubt=Doubt(reasons, (0.9, 1.0), "spread cells", True))


def test_on_a_feeder_layer_spread_cells_outside_colonies_are_background():
    plain = measured_image(picture(size=2.0), segmenter=Lawn())
    assert plain.areas.differentiated_px == plain.areas.cells_px > 0
    assert plain.doubt.interval == (0.9, 1.0)
    layer = measured_image(picture(size=2.0), SourceSettings(feeder_layer=True), segmenter=Lawn())
    assert layer.areas.cells_px == 0
    # No model was measured on a layer; what speaks against the image still does.
    assert layer.doubt == culture.Doubt(reasons=(culture.DoubtReason.UNFAMILIAR,))


def test_a_side_car_of_unequal_sides_is_refused_unless_somebody_says_the_pixel_size():
    """Also where one looks at a single image: no area of it could be right."""
    beside = Said(not_square="has pixels of 0.65 x 1.3 um")
    with pytest.raises(CaptureError, match=r"dish\.tif: by its sidecar"):
        measured_image(picture(), sidecar=beside)
    assert measured_image(picture(), sidecar=beside, override_um=0.65).pixel_size.um == 0.65


def test_a_whole_well_gives_the_scale_where_nothing_else_does():
    found = measured_image(
        picture(WELL), SourceSettings(well_diameter_mm=6.4), named=WHOLE, shown="well.tif"
    )
    assert found.pixel_size.source == "well"
    assert found.pixel_size.known_um == pytest.approx(6400 / 680, rel=0.02)
    assert (found.labels == 255).mean() > 0.4, "the dark outside is no culture"


def test_a_picture_of_a_whole_well_without_a_rim_is_refused():
    """Its dark outside would count as culture without cells."""
    with pytest.raises(CaptureError, match=r"well\.tif: .*no rim") as refused:
        measured_image(picture(), named=WHOLE, shown="well.tif")
    assert refused.value.reason == "no-well" and not refused.value.transient


def request(path: Path, state: Path, named: NamedParts) -> FieldRequest:
    return FieldRequest(path, hash_file(path), named, SourceSettings(), "5" * 64, state)


def test_a_measurement_says_that_size_and_time_come_from_a_side_car(tmp_path):
    path = tmp_path / "p7_A01_T0001F001L01A01Z01C01.tif"
    path.write_bytes(tiff(colonies((200, 300))))
    (tmp_path / "MeasurementData.mlf").write_text(
        f'<m {YOKOGAWA}><bts:MeasurementRecord bts:Time="2026-11-02T03:00:00Z">{path.name}'
        "</bts:MeasurementRecord></m>"
    )
    (tmp_path / "MeasurementDetail.mrf").write_text(
        f'<m {YOKOGAWA}><bts:MeasurementChannel bts:HorizontalPixelDimension="0.65"/></m>'
    )
    measured = measure(
        StandInSegmenter(),  # type: ignore[arg-type]
        request(path, tmp_path / "state", NamedParts("p7/A1", "yokogawa")),
    )
    assert measured.pixel_size == PixelSize(0.65, PixelSizeSource.SIDE_CAR)
    assert measured.acquired_at.isoformat() == "2026-11-02T03:00:00+00:00"
    assert measured.acquired_at_from == "sidecar"


@pytest.mark.parametrize(
    ("said", "year"),
    [
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), 1900),
        (datetime.min.replace(tzinfo=UTC), 1900),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))), 2200),
        (datetime.max.replace(tzinfo=UTC), 2200),
        (datetime(1970, 1, 1, tzinfo=UTC), 1970),
    ],
)
def test_a_year_beyond_reckoning_is_brought_within_reach(tmp_path, said, year):
    """Adding a scan's span to the last of all years ended `process` for all other captures."""
    path = tmp_path / "d1_99991231T235959Z.tif"
    path.write_bytes(tiff(colonies((200, 300))))
    measured = measure(
        StandInSegmenter(),  # type: ignore[arg-type]
        request(path, tmp_path / "state", NamedParts("d1", "dish-time", acquired_at=said)),
    )
    assert measured.acquired_at == datetime(year, 1, 1, tzinfo=UTC)


def test_fluorescence_is_no_number_whatever_was_known_when_the_file_came(tmp_path):
    """The bytes that are measured say it themselves: the look at intake may have been too early."""
    path = tmp_path / "exp_B02_w1.tif"
    light = '<prop id="_IllumSetting_" type="string" value="DAPI"/>'
    path.write_bytes(described(f"<MetaData><PlaneInfo>{light}</PlaneInfo></MetaData>"))
    named = NamedParts(dish="exp/B2", pattern="imagexpress", channel="w1")
    with pytest.raises(LeftOutError) as left:
        measure(StandInSegmenter(), request(path, tmp_path / "state", named))  # type: ignore[arg-type]
    assert (left.value.what, left.value.reason) == ("channel w1 (DAPI)", "left-out")
    assert not (tmp_path / "state").exists()
    crossed = pickle.loads(pickle.dumps(left.value))
    assert (crossed.what, str(crossed)) == (left.value.what, str(left.value))


def test_a_file_that_became_something_else_is_not_opened(tmp_path):
    path = tmp_path / "dish_20261102_0300.tif"
    path.write_bytes(tiff())
    asked = request(path, tmp_path / "state", NamedParts("dish", "dish-time"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CaptureError) as refused:
        measure(StandInSegmenter(), asked)  # type: ignore[arg-type]
    assert refused.value.reason == "changed"


def test_a_name_with_a_line_break_stays_on_one_line_of_the_message(tmp_path):
    path = tmp_path / "dish\n7_20261102_0300.tif"
    path.write_bytes(tiff()[:2000])
    with pytest.raises(CaptureError) as refused:
        measure(
            StandInSegmenter(),  # type: ignore[arg-type]
            request(path, tmp_path / "state", NamedParts("dish", "dish-time")),
        )
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("size_um", "doubts"), [(2.0, ()), (0.1, ("too-small",))], ids=["a field", "a corner of one"]
)
def test_what_shows_less_than_a_window_is_in_doubt(size_um, doubts):
    """The model says something of any picture; of a single cell it is a guess."""
    found = measured_image(picture(size=size_um))
    assert found.quality.doubts == doubts


def test_an_assumed_pixel_size_is_for_drawing_alone():
    class Assuming(StandInSegmenter):
        def segment(self, pixels, pixel_size_um, *, inside=None):
            found = super().segment(pixels, pixel_size_um, inside=inside)
            return replace(found, assumed_pixel_size_um=None if pixel_size_um else 1.75)

    assumed, known = (
        measured_image(picture(size=size), segmenter=Assuming()).pixel_size for size in (None, 0.65)
    )
    assert assumed == PixelSize(1.75, assumed=True)
    assert (assumed.known_um, assumed.assumed_um) == (None, 1.75)
    assert (known.known_um, known.assumed_um) == (0.65, None)


class DoubtingSegmenter(StandInSegmenter):
    """Calls everything differentiated, and doubts it; its interval is that of a coarser grid."""

    doubt = Doubt((DoubtReason.UNFAMILIAR,), (0.2, 0.9), "plates", calibrated=True)
    surest = 2

    def segment(self, pixels, pixel_size_um, *, inside=None):
        found = super().segment(pixels, pixel_size_um, inside=inside)
        sure = np.zeros_like(found.probabilities)
        sure[self.surest] = 1
        return replace(found, probabilities=sure, doubt=self.doubt)


class EmptyAndDoubting(DoubtingSegmenter):
    surest = 0


def test_what_the_model_doubts_comes_with_the_measurement_and_over_to_another_process(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(colonies((200, 300))))
    measured = measure(
        DoubtingSegmenter(),  # type: ignore[arg-type]
        request(path, tmp_path / "state", NamedParts("dish", "dish-time")),
    )
    assert measured.doubt == culture.Doubt(
        (culture.DoubtReason.UNFAMILIAR,), (0.2, 1.0), "plates", calibrated=True
    )
    assert measured.doubt.in_doubt
    assert pickle.loads(pickle.dumps(measured)) == measured


def test_the_interval_holds_the_fraction_that_is_told_beside_it():
    """The network counts blocks, a measurement pixels: "100 % (20 to 90 %)" would be nonsense."""
    found = measured_image(picture(), segmenter=DoubtingSegmenter())
    assert found.areas.differentiated_fraction == 1.0
    assert found.doubt.interval == (0.2, 1.0)


def test_where_nothing_is_known_nothing_is_doubted():
    doubt = measured_image(picture()).doubt
    assert doubt == culture.Doubt()
    assert not doubt.in_doubt


def test_a_field_without_cells_can_be_in_doubt_but_has_no_interval():
    """A fraction of no cells is undefined, and so is what lies about it."""
    doubt = measured_image(picture(), segmenter=EmptyAndDoubting()).doubt
    assert doubt.in_doubt
    assert doubt.interval is None


def test_every_reason_of_the_model_is_a_reason_of_the_field():
    assert [one.value for one in DoubtReason] == [one.value for one in culture.DoubtReason]


def with_bar(pixels):
    burnt = pixels.copy()
    rows, columns = burnt.shape
    burnt[rows - 40 : rows - 33, columns - 130 : columns - 20] = 255
    return burnt


def test_what_is_burnt_in_is_no_imaged_area():
    """Its pixels show no culture: neither background nor cells."""
    pixels = with_bar(colonies())
    found = measured_image(picture(pixels))
    assert found.burnt_in is not None
    hidden = found.burnt_in.rows(0, pixels.shape[0])
    assert np.array_equal(found.labels == 255, hidden)
    assert found.areas.imaged_px == pixels.size - found.burnt_in.area_px
    assert found.quality.measures["burnt_in"] == pytest.approx(hidden.mean(), abs=1e-4)


def test_without_anything_burnt_in_nothing_is_masked_or_noted():
    found = measured_image(picture())
    assert found.burnt_in is None
    assert found.segmentation.inside is None
    assert "burnt_in" not in found.quality.measures


def test_a_bar_in_a_whole_well_is_cut_out_besides_its_outside():
    pixels = WELL.copy()
    pixels[500:508, 400:520] = 255
    found = measured_image(picture(pixels), named=WHOLE)
    assert found.burnt_in is not None
    assert (found.labels[496:512, 396:524] == 255).all()
    assert (found.labels[540:560, 400:520] != 255).all()
    assert (found.labels == 255).mean() > 0.4
