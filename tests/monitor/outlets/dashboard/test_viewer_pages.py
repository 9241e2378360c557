"""Looking back and closely, through a real server, over captures that lie on the disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from tests.monitor.facts import DISH
from tests.monitor.outlets.dashboard.viewed_site import (
    SHAPE,
    SHIFT_UM,
    UM,
    ViewedSite,
    capture_of,
    dish_at,
    viewed_site,
)

NAME = quote(DISH, safe="")


@pytest.fixture(scope="module")
def site(fresh_database, tmp_path_factory) -> Iterator[ViewedSite]:
    with viewed_site(fresh_database, tmp_path_factory.mktemp("viewed")) as found:
        yield found


def scene(site: ViewedSite, number: int, only: int | None = None) -> dict:
    query = "" if only is None else f"&only={only}"
    return json.loads(site.look(f"/look/scene.json?reading={site.readings[number]}{query}").body)


def tile(
    site: ViewedSite, number: int, x: int, y: int, *, layer="capture", z=0, **more
) -> np.ndarray:
    query = "".join(f"&{key}={value}" for key, value in more.items())
    answer = site.look(
        f"/look/tile?reading={site.readings[number]}&layer={layer}&tone=plain&z={z}&x={x}&y={y}{query}"
    )
    assert answer.status == 200, answer.text
    return answer.image


# --- closely ------------------------------------------------------------------------------------


def test_fields_are_laid_by_their_places_on_the_stage(site) -> None:
    told = scene(site, 0)
    assert (told["width"], told["height"]) == (800, 600)
    assert [one["box"] for one in told["fields"]] == [
        [0, 0, 400, 300], [400, 0, 400, 300], [0, 300, 400, 300], [400, 300, 400, 300],
    ]  # fmt: skip
    (a, b, c), (d, e, f) = told["to_stage"]
    # The middle of the first field.
    assert (a * 199.5 + b * 149.5 + c, d * 199.5 + e * 149.5 + f) == (0.0, 0.0)


def test_at_full_size_a_pixel_of_a_tile_is_a_pixel_of_the_capture(site) -> None:
    found = tile(site, 0, 0, 0)[..., 0] if tile(site, 0, 0, 0).ndim == 3 else tile(site, 0, 0, 0)
    own = capture_of(dish_at(0, 0), 1).astype(float)
    shown = found[:300, :400].astype(float)
    low, high = np.percentile(own, (0.1, 99.9))
    expected = np.clip((own - low) * 255 / (high - low), 0, 255)
    # JPEG is off by little; a row further on it would be off by more.
    assert np.abs(shown - expected).mean() < 5 < np.abs(shown[1:] - expected[:-1]).mean()


def test_tiles_of_every_size_together_show_the_whole_canvas(site) -> None:
    for z, count in ((0, 4), (1, 1), (2, 1)):
        step = 2**z
        width, height = -(-800 // step), -(-600 // step)
        seen = np.zeros((height, width), bool)
        for y in range(-(-height // 512)):
            for x in range(-(-width // 512)):
                found = tile(site, 0, x, y, z=z)
                seen[y * 512 : y * 512 + 512, x * 512 : x * 512 + 512] = True
                assert found.shape[:2] == (min(512, height - 512 * y), min(512, width - 512 * x))
                count -= 1
        assert seen.all() and count == 0


def test_the_layer_of_classes_has_the_colours_of_the_label_map(site) -> None:
    found = tile(site, 0, 0, 0, layer="classes")[:300, :400]
    labels = dish_at(0, 0)
    assert (found[labels == 0][:, 3] == 0).all()
    blue, orange = found[labels == 1][:, :3], found[labels == 2][:, :3]
    assert len(np.unique(blue, axis=0)) == len(np.unique(orange, axis=0)) == 1
    assert not (blue[0] == orange[0]).all()


def test_outlines_lie_on_borders_and_have_no_seam_between_tiles_and_fields(site) -> None:
    whole = tile(site, 0, 0, 0, layer="outlines")[..., 3] > 0
    labels = dish_at(0, 0) > 0
    grown = cv2.dilate(labels.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    inner = cv2.erode(labels.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    drawn = whole[:300, :400]
    assert drawn.any() and not drawn[~grown].any() and not drawn[inner & (dish_at(0, 0) == 1)].any()
    # A colony that goes on in the next field has no line along the border between them.
    both = np.hstack([dish_at(0, 0), dish_at(1600, 0)])[:, 390:410] == 1
    inside = both.all(axis=1)
    for row in np.flatnonzero(inside)[2:-2]:
        if inside[row - 4 : row + 5].all():
            assert not whole[row, 395:405].any()


def test_the_more_probable_a_class_is_the_denser_is_its_colour(site) -> None:
    found = tile(site, 0, 0, 0, layer="differentiated")[:300, :400, 3].astype(float)
    labels = dish_at(0, 0)
    core = cv2.erode((labels == 2).astype(np.uint8), np.ones((31, 31), np.uint8)) > 0
    far = cv2.dilate((labels == 2).astype(np.uint8), np.ones((41, 41), np.uint8)) == 0
    assert core.any() and found[core].mean() > 180 and found[far].mean() < 40
    unsure = tile(site, 0, 0, 0, layer="uncertain")[:300, :400, 3].astype(float)
    assert unsure[core].mean() < 60


def test_what_is_missing_is_told_in_its_place_and_looks_like_nothing_dark(site) -> None:
    told = {one["name"]: one for one in scene(site, 1)["fields"]}
    assert told["f3"]["words"] == "missing: no capture of this field came with this scan"
    assert told["f4"]["words"] == "unreadable: ends after 12 bytes"
    assert told["f1"]["words"] is None and told["f4"]["box"] == [400, 300, 400, 300]
    missing = tile(site, 1, 0, 1)[:, :380]
    assert missing[..., :3].min() > 80
    assert len(np.unique(missing[..., :3].reshape(-1, 3), axis=0)) == 2
    page = site.look(f"/look?name={NAME}&reading={site.readings[1]}").text
    assert "unreadable: ends after 12 bytes" in page


def test_an_original_that_is_gone_is_told_and_comes_back_when_it_does(site) -> None:
    path = site.captures / "A1_s0_f2.tif"
    moved = path.with_suffix(".away")
    path.rename(moved)
    try:
        answer = site.look(
            f"/look/tile?reading={site.readings[0]}&only=1&layer=capture&tone=even&z=0&x=0&y=0"
        )
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(np.unique(answer.image[..., :3].reshape(-1, 3), axis=0)) == 2
        told = scene(site, 0)["fields"][1]
        assert "no longer where it was" in told["words"]
    finally:
        moved.rename(path)


def test_a_file_that_holds_another_image_by_now_is_not_shown_as_the_one_that_was_measured(
    site, tmp_path
) -> None:
    path = site.captures / "A1_s2_f4.tif"
    own = path.read_bytes()
    path.write_bytes((site.captures / "A1_s2_f1.tif").read_bytes())
    try:
        answer = site.look(f"/look.jpg?reading={site.readings[2]}&only=3&width=400")
        assert answer.status == 200
        assert scene(site, 2)["fields"][3]["words"].startswith("the file holds another image")
    finally:
        path.write_bytes(own)


def test_fields_in_doubt_say_so(site) -> None:
    told = {one["name"]: one["doubts"] for one in scene(site, 1)["fields"]}
    assert told["f1"] == [] and len(told["f2"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/look/tile?reading={0}&z=0&x=9&y=0",
        "/look/tile?reading={0}&z=60&x=0&y=0",
        "/look/tile?reading={0}&z=0&x=0&y=0&layer=secret",
        "/look/tile?reading={0}&z=0&x=-1&y=0",
        "/look/tile?reading={0}&only=77&z=0&x=0&y=0",
        "/look/tile?reading=999&z=0&x=0&y=0",
        "/look/scene.json?reading=abc",
        "/look.jpg?reading={0}&width=999999",
        "/colony.jpg?reading={0}&x=5000&y=0&side=10",
        "/colony?name=" + NAME + "&number=5",
        "/look?name=nobody",
        "/look?name=" + NAME + "&field=nowhere",
        "/look?name=" + NAME + "&at=yesterday",
        "/look/stops.json?name=%00",
    ],
)
def test_wrong_requests_are_refused_with_a_reason(site, path) -> None:
    answer = site.look(path.format(site.readings[0]))
    assert answer.status in (400, 404)
    assert "Traceback" not in answer.text


# --- back ---------------------------------------------------------------------------------------


def test_the_page_leads_to_the_scans_before_and_after_without_scripts(site) -> None:
    page = site.look(f"/look?name={NAME}&reading={site.readings[1]}").text
    links = {
        name: unescape(href) for href, name in re.findall(r'href="([^"]*)" data-go="(\w+)"', page)
    }
    assert {name: int(re.findall(r"reading=(\d+)", href)[0]) for name, href in links.items()} == {
        "first": site.readings[0], "before": site.readings[0],
        "after": site.readings[2], "last": site.readings[2],
    }  # fmt: skip
    (picture,) = re.findall(r'<img loading="lazy" src="([^"]*)"', page)
    still = site.look(unescape(picture))
    assert still.headers["Content-Type"] == "image/jpeg" and still.image.shape[1] >= 700


def test_a_time_leads_to_the_nearest_scan(site) -> None:
    answer = site.look(f"/look?name={NAME}&at=2026-11-03T14:00")
    assert answer.status == 303
    assert f"reading={site.readings[1]}" in answer.headers["Location"]


def test_one_field_is_looked_at_alone_and_followed_through_time(site) -> None:
    page = site.look(f"/look?name={NAME}&reading={site.readings[0]}&field=f2").text
    (before_after,) = re.findall(r'href="([^"]*)" data-go="after"', page)
    assert "field=f2" in before_after
    told = scene(site, 0, only=1)
    assert (told["width"], told["height"]) == (SHAPE[1], SHAPE[0])
    assert [one["name"] for one in told["fields"]] == ["f2"]


def test_scans_are_registered_by_their_cells(site) -> None:
    first, last = site.readings[0], site.readings[2]
    found = json.loads(site.look(f"/look/shift.json?from={first}&to={last}").body)
    assert found["shift"]["across_um"] == pytest.approx(SHIFT_UM, abs=8)
    assert abs(found["shift"]["down_um"]) <= 8 and found["likeness"] > 0.5
    one = json.loads(site.look(f"/look/shift.json?from={first}&to={last}&field=f1").body)
    assert one["shift"]["across_um"] == pytest.approx(SHIFT_UM, abs=8)


def test_the_slider_knows_every_scan(site) -> None:
    told = json.loads(site.look(f"/look/stops.json?name={NAME}").body)
    assert told["readings"] == site.readings and told["all"] == 3
    assert told["in_doubt"] == [1]


def test_two_scans_stand_beside_each_other_without_scripts(site) -> None:
    page = site.look(
        f"/look?name={NAME}&reading={site.readings[0]}&with={site.readings[2]}&how=side"
    ).text
    assert len(re.findall(r"<figure>", page)) == 2 and "as a wipe" in page


def test_a_square_of_a_scan_shows_that_place(site) -> None:
    told = site.look(f"/colony.jpg?reading={site.readings[0]}&x=400&y=300&side=100&layer=capture")
    assert told.status == 200 and told.image.shape[:2] == (220, 220)


def test_a_former_models_reading_is_listed_and_says_that_its_overlay_is_gone(
    fresh_database, tmp_path
) -> None:
    from monitor.culture import DishStatus, ScanDecision
    from tests.monitor.facts import NOW, OTHER_MODEL, hours, read, reopen
    from tests.monitor.outlets.dashboard.viewed_site import add_again

    with viewed_site(fresh_database, tmp_path) as own:
        reopen(own.store, OTHER_MODEL, at=NOW + hours(30))
        scan_id = add_again(own, 0, OTHER_MODEL, at=NOW + hours(30))
        outcome = read(
            own.store, scan_id, ScanDecision(DishStatus.UNDIFFERENTIATED), at=NOW + hours(30)
        )
        assert outcome is not None
        page = own.look(f"/look?name={NAME}&reading={outcome.reading.id}").text
        assert "Readings of this scan" in page and f"reading={own.readings[0]}" in page
        former = own.look(f"/look?name={NAME}&reading={own.readings[0]}").text
        assert "read again since then" in former
        answer = own.look(f"/look/tile?reading={own.readings[0]}&layer=classes&z=0&x=0&y=0")
        assert (answer.image[..., 3] == 0).all()


def test_um_a_pixel_is_what_the_scene_says(site) -> None:
    assert scene(site, 0)["pixel_size_um"] == UM
