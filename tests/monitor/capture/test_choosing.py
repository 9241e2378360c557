"""Of the pictures that an imager writes of a field, each into a file, exactly one is looked at."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest

from monitor.capture.choosing import FieldChooser
from monitor.capture.names.light import Light, light_of
from monitor.config import SourceSettings
from tests.monitor.capture.corpus import OME, described, tiff

GUID = "EFB0F53A-F40F-46D8-A61A-51C2BE61E460"
HARMONY = "P__2026-11-29T03_00_00-Measurement 1"


def metamorph(light: str | None, kind: str = "_IllumSetting_") -> bytes:
    said = "" if light is None else f'<prop id="{kind}" type="string" value="{light}"/>'
    return described(f"<MetaData><PlaneInfo>{said}</PlaneInfo></MetaData>")


def ome(*channels: str) -> bytes:
    elements = "".join(f'<Channel ID="Channel:0:{n}" {one}/>' for n, one in enumerate(channels))
    return described(
        f'<?xml version="1.0"?><OME xmlns="{OME}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZCT" Type="uint8" SizeX="96" SizeY="64" SizeZ="1" SizeC="1" SizeT="1">'
        f'{elements}<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )


def gen5(colour: str, *flags: str) -> bytes:
    said = "".join(f"<{flag}>TRUE</{flag}>" for flag in flags)
    return described(f'<BTIImageMetaData><Channel Color="{colour}"/>{said}</BTIImageMetaData>')


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def taken(folder: Path, *, order: list[str] | None = None, **settings: object) -> set[str]:
    """Names of the files that are looked at, when they are asked for in that order."""
    chooser, held = FieldChooser(), SourceSettings(**settings)
    names = order or sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*.[tT][iI][fF]*")
    )
    return {name for name in names if chooser.choose(folder / name, held).left_out is None}


def left(folder: Path, name: str, **settings: object) -> str | None:
    return FieldChooser().choose(folder / name, SourceSettings(**settings)).left_out


# --- channels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lights", "looked_at"),
    [
        (["TL 50", "DAPI", "FITC", "Cy5"], {1}),
        (["DAPI", "TL 50"], {2}),
        (["Custom 4", "Brightfield"], {2}),
        (["4. GREEN penta", "Custom 4"], {2}),
        (["Phase", "BF low"], {1}),
        (["DAPI", "FITC"], set()),
        ([None, None, None], {1}),
        (["Custom 1", "Custom 2"], {1}),
    ],
)
def test_the_light_in_the_file_says_which_wavelength_is_looked_at(tmp_path, lights, looked_at):
    """Names say just w1 to w4. Whatever order they come in, one of a field is taken, or none."""
    names = [f"exp7_B02_s1_w{number}.tif" for number in range(1, len(lights) + 1)]
    write(tmp_path, dict(zip(names, map(metamorph, lights), strict=True)))
    for order in itertools.permutations(names):
        found = taken(tmp_path, order=list(order))
        assert found == {f"exp7_B02_s1_w{number}.tif" for number in looked_at}, order


def test_a_lowest_channel_that_comes_last_is_the_one_all_the_same(tmp_path):
    """Of w2 and w3 alone w2 is looked at; with w1 there, neither."""
    chooser, held = FieldChooser(), SourceSettings()
    write(tmp_path, {"e_B02_w2.tif": metamorph(None), "e_B02_w3.tif": metamorph(None)})
    assert chooser.choose(tmp_path / "e_B02_w3.tif", held).left_out == (
        "channel w3 (light not known)"
    )
    assert chooser.choose(tmp_path / "e_B02_w2.tif", held).left_out is None
    write(tmp_path, {"e_B02_w1.tif": metamorph(None)})
    assert chooser.choose(tmp_path / "e_B02_w1.tif", held).left_out is None
    assert chooser.choose(tmp_path / "e_B02_w2.tif", held).left_out is not None


def test_a_channel_that_went_away_outranks_nothing(tmp_path):
    write(tmp_path, {"e_B02_w1.tif": metamorph(None), "e_B02_w2.tif": metamorph(None)})
    chooser, held = FieldChooser(), SourceSettings()
    assert chooser.choose(tmp_path / "e_B02_w2.tif", held).left_out is not None
    (tmp_path / "e_B02_w1.tif").unlink()
    assert chooser.choose(tmp_path / "e_B02_w2.tif", held).left_out is None


def test_a_wavelength_without_another_is_looked_at_whatever_its_number(tmp_path):
    write(tmp_path, {f"101210Plt1_C16_w2_[{GUID}].tif": metamorph(None)})
    assert len(taken(tmp_path)) == 1


def test_two_plates_in_a_folder_have_their_own_channels(tmp_path):
    files = {"a_B02_w1.tif": "TL 50", "a_B02_w2.tif": "DAPI", "b_B02_w1.tif": "DAPI"}
    write(tmp_path, {name: metamorph(light) for name, light in files.items()})
    write(tmp_path, {"b_B02_w2.tif": metamorph("TL 50")})
    assert taken(tmp_path) == {"a_B02_w1.tif", "b_B02_w2.tif"}


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("e_B02_w1.TIF", metamorph("FITC"), "channel w1 (FITC)"),
        ("e_b02_s1_w1.tif", metamorph("DAPI", "image-name"), "channel w1 (DAPI)"),
        ("d_20261129_0300.ome.tif", ome('Name="DAPI"'), "channel DAPI"),
        ("d_20261129_0300.ome.tif", ome('Name="BF"'), None),
        ("d_20261129_0300.ome.tif", ome('Name="Channel 1" IlluminationType="Transmitted"'), None),
        (
            "d_20261129_0300.ome.tif",
            ome('Name="Channel 1" IlluminationType="Epifluorescence"'),
            "channel Channel 1",
        ),
        ("d_20261129_0300.ome.tif", ome('ContrastMethod="Phase" Name="GFP reporter"'), None),
        # Some writers give all channels one kind of illumination.
        ("d_20261129_0300.ome.tif", ome('IlluminationType="Epifluorescence" Name="Phase"'), None),
        (
            "d_20261129_0300.ome.tif",
            ome('IlluminationType="Transmitted" Name="DAPI"'),
            "channel DAPI",
        ),
        ("d_20261129_0300.ome.tif", ome('Fluor="eGFP"'), "channel without a name"),
        ("dish_1_MMStack_Pos0.ome.tif", ome('Name="mCherry"'), "channel mCherry"),
        ("dish_1_MMStack_Pos0.ome.tif", ome('Name="Default"'), None),
        ("p/A1_-1_1_1_GFP_001.tif", gen5("GFP"), "channel GFP"),
        ("p/A1_-1_1_1_Custom_001.tif", gen5("GFP"), "channel Custom (GFP)"),
        # The instrument is asked before the name.
        ("p/A1_-1_1_1_GFP_001.tif", gen5("Bright Field", "BrightField"), None),
        ("p/A1_-1_1_1_Green_001.tif", gen5("Green", "PhaseContrast"), None),
        ("VID123_Green_B2_1_2026y11m29d_03h00m.tif", tiff(), "channel Green"),
        ("VID123_Phase_B2_1_2026y11m29d_03h00m.tif", tiff(), None),
        ("VID123_B2_1_2026y11m29d_03h00m.tif", tiff(), None),
        ("p/A - 01(fld 1 wv UV - DAPI).tif", tiff(), "channel UV - DAPI"),
        ("p/A - 01(fld 1 wv TL-Brightfield - DAPI).tif", tiff(), None),
        ("p/A_01_f1_c1_xTL_mDAPI.tif", tiff(), None),
    ],
)
def test_what_is_said_of_the_light(tmp_path, name, data, why):
    write(tmp_path, {name: data})
    assert left(tmp_path, name) == why


def test_a_side_car_says_it_where_the_picture_does_not(tmp_path):
    """An Operetta's files are TIFFs without a word, and ch2 may be the transmitted one."""
    image = "<Image><URL>{0}</URL><ChannelID>{1}</ChannelID><ChannelName>{2}</ChannelName></Image>"
    names = {1: "HOECHST 33342", 2: "Brightfield", 3: "Alexa 488"}
    urls = {n: f"A1/r01c01f01p01-ch{n}sk1fk1fl1.tiff" for n in names}
    write(tmp_path / HARMONY, {url: tiff() + bytes([n]) for n, url in urls.items()})
    assert taken(tmp_path / HARMONY) == {urls[1]}, "the first, as long as nothing is known"
    index = "".join(image.format(urls[n], n, name) for n, name in names.items())
    (tmp_path / HARMONY / "Index.idx.xml").write_text(f"<Data><Images>{index}</Images></Data>")
    assert taken(tmp_path / HARMONY) == {urls[2]}
    assert left(tmp_path / HARMONY, urls[1]) == "channel ch1 (HOECHST 33342)"


def test_an_index_may_give_the_light_once_a_channel(tmp_path):
    entries = (
        '<Map><Entry ChannelID="1"><ChannelName>Custom</ChannelName><ChannelType>Fluorescence'
        '</ChannelType></Entry><Entry ChannelID="2"><ChannelName>Other</ChannelName>'
        "<IlluminationType>Transmission</IlluminationType></Entry></Map>"
    )
    name = "Images/r01c01f01p01-ch{0}sk1fk1fl1.tiff"
    images = "".join(
        f"<Image><URL>{name.format(n)[7:]}</URL><ChannelID>{n}</ChannelID></Image>" for n in (1, 2)
    )
    write(tmp_path, {name.format(n): tiff() + bytes([n]) for n in (1, 2)})
    text = f"<Data><Maps>{entries}</Maps><Images>{images}</Images></Data>"
    (tmp_path / "Images" / "Index.idx.xml").write_text(text)
    assert taken(tmp_path) == {name.format(2)}


def test_the_protocol_of_an_imagexpress_says_it(tmp_path):
    waves = [("DAPI", 0), ("TL", 1), ("FITC", 2)]
    protocol = {
        "ObjectiveCalibration": {"PixelWidth": 0.65, "PixelHeight": 0.65, "Unit": "µm"},
        "Wavelengths": [{"Index": n, "EmissionFilter": {"Name": name}} for name, n in waves],
    }
    names = [f"timepoint0/ips_t0_C05_s0_w{n}_z0.tif" for n in range(3)]
    write(tmp_path, {name: tiff() + name.encode() for name in names})
    text = json.dumps({"ImageStack": {"AutoLeadAcquisitionProtocol": protocol}})
    (tmp_path / "run.jdce").write_text(text)
    assert taken(tmp_path) == {names[1]}
    (tmp_path / "run.jdce").write_text(text[:100])
    assert taken(tmp_path) == {names[0]}, "a damaged one says nothing"


@pytest.mark.parametrize("channel", ["w2", "2", "DAPI", "dapi"])
def test_a_channel_that_is_asked_for_is_taken_by_any_of_its_names(tmp_path, channel):
    """Even if it is fluorescence: the lab knows what it wants to look at."""
    lights = {"w1": "TL 50", "w2": "DAPI"}
    write(tmp_path, {f"e_B02_{w}.tif": metamorph(light) for w, light in lights.items()})
    assert taken(tmp_path, channel=channel) == {"e_B02_w2.tif"}
    assert taken(tmp_path, channel="TL") == taken(tmp_path, channel="TL 50") == {"e_B02_w1.tif"}
    assert left(tmp_path, "e_B02_w1.tif", channel=channel) == "channel w1 (TL 50)"


@pytest.mark.parametrize("data", [b"", b"II*\0", tiff()[:60], b"x" * 100])
def test_a_damaged_file_is_left_to_who_reads_it(tmp_path, data):
    """What cannot be read is unreadable, with its reason; it is never left out for that."""
    write(tmp_path, {"e_B02_w1.tif": data})
    assert left(tmp_path, "e_B02_w1.tif") is None


def test_a_pipe_that_took_the_place_of_a_file_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "e_B02_w1.tif")
    assert left(tmp_path, "e_B02_w1.tif") is None


@pytest.mark.parametrize(
    ("name", "light"),
    [
        *((name, Light.TRANSMITTED) for name in (
            "TL 50", "TL-Brightfield", "Bright Field", "BrightField", "BF_100ms", "Ph", "Ph2",
            "Phase Contrast", "Tsf[Phase Contrast]", "DIC", "T-PMT", "TransmittedLight", "Dia",
            "Digital Phase Contrast", "TL - DAPI", "brightfield (GFP cube)",
        )),
        *((name, Light.FLUORESCENCE) for name in (
            "DAPI", "FITC", "Cy5", "Cy3.5", "EGFP", "mCherry", "tdTomato", "Texas Red", "TxRed",
            "Alexa Fluor 488", "AF488", "488", "561nm", "CSU488", "4. GREEN penta", "Far Red",
            "NIR", "HOECHST 33342", "BFP", "TLR4-GFP", "transfected GFP", "UV - DAPI", "Fluo-4",
        )),
        *((name, None) for name in (
            "", None, "w1", "C1", "ch2", "Default", "Custom 1", "500 ms", "10x", "Phantom", "650",
        )),
    ],
)  # fmt: skip
def test_words_for_light(name, light):
    assert light_of(name) is light


# --- planes and projections ---------------------------------------------------------------------

STACK = "exp8/TimePoint_1"


@pytest.mark.parametrize("beside", ["", "ZStep_0/"])
@pytest.mark.parametrize(
    ("settings", "looked_at"),
    [({}, "ZStep_1/"), ({"plane": 2}, "ZStep_2/"), ({"plane": "projection"}, None)],
)
def test_of_planes_and_their_projection_one_is_looked_at(tmp_path, beside, settings, looked_at):
    folders = [beside, "ZStep_1/", "ZStep_2/"]
    names = [f"{STACK}/{folder}exp8_E07_s1_w1.tif" for folder in folders]
    write(tmp_path, {name: metamorph("TL 50") + name.encode() for name in names})
    wanted = f"{STACK}/{beside if looked_at is None else looked_at}exp8_E07_s1_w1.tif"
    for order in itertools.permutations(names):
        assert taken(tmp_path, order=list(order), **settings) == {wanted}
    if looked_at is not None:
        assert left(tmp_path, names[0], **settings) == "projection"


def test_planes_and_projections_of_one_field_may_bear_other_identifiers(tmp_path):
    names = [f"{STACK}/{folder}e_E07_s1_w1{GUID[:-1]}{n}.tif" for n, folder in
             enumerate(("ZStep_0/", "ZStep_1/"))]  # fmt: skip
    write(tmp_path, {name: metamorph("TL 50") + name.encode() for name in names})
    assert taken(tmp_path) == {names[1]}


@pytest.mark.parametrize("settings", [{}, {"plane": 3}, {"plane": "projection"}])
def test_projections_alone_are_read_as_what_they_are(tmp_path, settings):
    names = {f"9987_Plate_3434/TimePoint_1/ZStep_0/9987_B02_s{n}_w1.TIF" for n in (1, 2)}
    write(tmp_path, {name: metamorph("TL 50") + name.encode() for name in names})
    assert taken(tmp_path, **settings) == names
    (name, *_) = names
    named = FieldChooser().choose(tmp_path / name, SourceSettings()).named
    assert (named.plane, named.projection) == (None, "projection")


def test_a_stack_whose_wanted_plane_is_missing_is_left_out_and_said(tmp_path):
    write(tmp_path, {f"{STACK}/ZStep_2/e_E07_s1_w1.tif": metamorph("TL 50")})
    assert left(tmp_path, f"{STACK}/ZStep_2/e_E07_s1_w1.tif") == "plane 2"


def test_a_projection_of_a_lab_s_own_names_gives_way_to_the_plane(tmp_path):
    spec = r"(?P<dish>d\d)_(?:z(?P<plane>\d)|(?P<projection>max))"
    write(tmp_path, {"d1_max.tif": tiff(), "d2_max.tif": tiff(), "d2_z1.tif": tiff()})
    assert taken(tmp_path, names=spec) == {"d1_max.tif", "d2_z1.tif"}
    assert left(tmp_path, "d2_max.tif", names=spec) == "projection max"
