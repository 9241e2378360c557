from __future__ import annotations

import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from monitor.capture.formats.sidecars import check_square, read_beside
from monitor.errors import CaptureError

BERLIN = ZoneInfo("Europe/Berlin")
PICTURE = "r01c01f01p01-ch1sk1fk1fl1.tiff"
SPACE = "http://www.perkinelmer.com/PEHH/HarmonyV5"
SIZE = '<ImageResolutionX Unit="m">6.5E-07</ImageResolutionX>'
SIZE += '<ImageResolutionY Unit="m">6.5E-07</ImageResolutionY>'
BTS = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'


def harmony(image: str, entry: str = "") -> str:
    return (
        f'<?xml version="1.0"?><EvaluationInputData xmlns="{SPACE}"><Wells><Well><id>0101</id>'
        f'<Image id="x"/></Well></Wells><Maps><Map>{entry}</Map></Maps><Images>'
        f"<Image><URL>other.tiff</URL>{SIZE.replace('6.5', '9.9')}</Image>"
        f"<Image><id>x</id><URL>{PICTURE}</URL><ChannelID>2</ChannelID>{image}</Image></Images>"
        "</EvaluationInputData>"
    )


def plate(folder, files: dict[str, str], picture=PICTURE):
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "Images").mkdir(exist_ok=True)
    return folder / "Images" / picture


@pytest.mark.parametrize(
    "index",
    [
        harmony(SIZE + "<AbsTime>2026-11-02T03:00:00+00:00</AbsTime>"),
        # Later versions give the size once a channel.
        harmony(
            "<AbsTime>2026-11-02T04:00:00</AbsTime>",
            f'<Entry ChannelID="1">{SIZE.replace("6.5", "1.3")}</Entry>'
            f'<Entry ChannelID="2">{SIZE}</Entry>',
        ),
    ],
)
def test_an_operetta_index_gives_size_and_time_of_each_picture(tmp_path, index):
    said = read_beside(plate(tmp_path, {"Index.idx.xml": index}), "operetta", BERLIN)
    assert said is not None
    assert said.pixel_size_um == 0.65
    assert said.acquired_at == datetime(2026, 11, 2, 3, tzinfo=UTC)
    assert said.stage is None, "a place within a well is no place of the stage"


def test_yokogawa_files_give_size_and_time(tmp_path):
    name = "p_A01_T0001F001L01A01Z01C01.tif"
    records = (
        f'<bts:MeasurementData {BTS}><bts:MeasurementRecord bts:Time="2026-11-02T04:00:00+01:00" '
        f'bts:X="-100" bts:Y="50" bts:Type="IMG">{name}</bts:MeasurementRecord>'
        "</bts:MeasurementData>"
    )
    detail = (
        f'<bts:MeasurementDetail {BTS}><bts:MeasurementChannel bts:Ch="1" '
        'bts:HorizontalPixelDimension="0.65" bts:VerticalPixelDimension="0.65"/>'
        "</bts:MeasurementDetail>"
    )
    files = {"MeasurementData.mlf": records, "MeasurementDetail.mrf": detail}
    said = read_beside(plate(tmp_path, files, name), "yokogawa", BERLIN)
    assert said is not None
    assert (said.pixel_size_um, said.stage) == (0.65, None)
    assert said.acquired_at == datetime(2026, 11, 2, 3, tzinfo=UTC)
    other = read_beside(tmp_path / "Images" / "q.tif", "yokogawa", BERLIN)
    assert other is not None
    assert (other.pixel_size_um, other.acquired_at) == (0.65, None)


def test_channels_of_different_size_give_no_size(tmp_path):
    detail = f"<d {BTS}>" + "".join(
        f'<bts:MeasurementChannel bts:HorizontalPixelDimension="{size}"/>' for size in (0.65, 1.3)
    )
    picture = plate(tmp_path, {"MeasurementDetail.mrf": detail + "</d>"})
    assert read_beside(picture, "yokogawa", BERLIN) is None


def test_a_side_car_whose_pixels_are_not_square_gives_no_areas(tmp_path):
    index = harmony(SIZE.replace("6.5E-07", "1.3E-06", 1))
    said = read_beside(plate(tmp_path, {"Index.idx.xml": index}), "operetta", BERLIN)
    assert said is not None and said.pixel_size_um is None
    with pytest.raises(CaptureError, match=r"by its sidecar it has pixels of 1\.3 x 0\.65 um"):
        check_square(said, None, PICTURE)
    check_square(said, 0.65, PICTURE)  # the picture knows better


def test_an_in_cell_file_gives_the_size(tmp_path):
    text = '<ImageStack><ObjectiveCalibration pixel_width="0.65" pixel_height="0.65"/></ImageStack>'
    said = read_beside(plate(tmp_path, {"run.xdce": text}), "incell", BERLIN)
    assert said is not None and said.pixel_size_um == 0.65


LAUGHS = "<!DOCTYPE x [" + "".join(
    f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(9)
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        harmony(SIZE)[:-30],
        harmony(SIZE.replace("6.5E-07", "many")),
        harmony(SIZE.replace("6.5E-07", "nan")),
        harmony(SIZE.replace("6.5E-07", "0")),
        harmony(SIZE.replace("6.5E-07", "1E300")),
        harmony(SIZE.replace('Unit="m"', 'Unit="furlong"')),
        f"{LAUGHS}]><a>&e8;</a>",
        "<a>" * 100_000,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    ],
)
def test_a_damaged_or_hostile_index_says_nothing(tmp_path, text):
    said = read_beside(plate(tmp_path, {"Index.idx.xml": text}), "operetta", BERLIN)
    assert said is None or said.pixel_size_um is None


def test_an_index_that_is_no_file_is_not_opened(tmp_path):
    picture = plate(tmp_path, {})
    os.mkfifo(tmp_path / "Index.idx.xml")
    assert read_beside(picture, "operetta", BERLIN) is None


def test_an_index_that_grows_is_read_again(tmp_path):
    picture = plate(tmp_path, {"Index.idx.xml": harmony("")})
    said = read_beside(picture, "operetta", BERLIN)
    assert said is not None and said.pixel_size_um is None
    plate(tmp_path, {"Index.idx.xml": harmony(SIZE)})
    said = read_beside(picture, "operetta", BERLIN)
    assert said is not None and said.pixel_size_um == 0.65


def test_other_imagers_pictures_look_for_nothing(tmp_path):
    picture = plate(tmp_path, {"Index.idx.xml": harmony(SIZE)})
    assert read_beside(picture, "dish-time", BERLIN) is None
