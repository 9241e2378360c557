"""Series to be zoomed, compared and taken away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from urllib.parse import quote
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from monitor.culture import DishStatus, ScanDecision
from tests.monitor.facts import DISH, NOW, hours, measure, measurement, place, read
from tests.monitor.outlets.dashboard.viewed_site import ViewedSite, viewed_site

NAME = quote(DISH, safe="")
OTHER = '=2+3 <b>"x"/B2'
OTHER_NAME = quote(OTHER, safe="")


@pytest.fixture(scope="module")
def site(fresh_database, tmp_path_factory) -> Iterator[ViewedSite]:
    with viewed_site(fresh_database, tmp_path_factory.mktemp("series")) as found:
        for number in range(4):
            at = NOW + hours(5 * number)
            measured = measurement(acquired_at=at, differentiated=0, undifferentiated=0) if (
                number == 2
            ) else measurement(acquired_at=at)  # fmt: skip
            scan = measure(found.store, f"o{number}.tif", place(OTHER, f"k{number}"), measured)
            read(found.store, scan, ScanDecision(DishStatus.UNDIFFERENTIATED), at=at)
        found.store.lines.annotate(
            DISH, "new medium", who="Ada", at=NOW + hours(3), now=NOW + hours(15)
        )
        yield found


def document(site: ViewedSite, query: str) -> dict:
    return json.loads(site.look(f"/series.json?{query}").body)


def test_several_dishes_stand_in_one_document_with_limits_doubt_and_what_people_did(site) -> None:
    told = document(site, f"name={NAME}&name={OTHER_NAME}")
    one, other = told["dishes"]
    assert one["reading"] == site.readings and len(other["at"]) == 4
    assert 0 < one["low"][1] < one["high"][1] < 1 and list(one["doubts"]) == ["1"]
    assert one["limits"]["alert"] == 0.1
    assert [event["words"] for event in one["events"]] == ["Ada: new medium"]


def test_a_share_that_is_undefined_is_missing_and_not_zero(site) -> None:
    (told,) = document(site, f"name={OTHER_NAME}")["dishes"]
    assert told["fraction"] == [0.25, 0.25, None, 0.25]


def test_the_page_can_be_read_without_scripts(site) -> None:
    page = site.look(f"/series?name={NAME}&name={OTHER_NAME}").text
    assert '<img class="drawn" src="/series/plot.png?' in page
    assert page.count("/look?name=") >= 7 and "no cells" in page and "Ada: new medium" in page
    assert "<b>&#34;" not in page and "<b>" not in page.split("<table>")[1]


def test_the_csv_has_a_row_a_scan_and_no_cell_is_a_formula(site) -> None:
    answer = site.look(f"/series.csv?name={NAME}&name={OTHER_NAME}&days=0")
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert len(rows) == 7
    assert {row["dish"] for row in rows} == {DISH, f"'{OTHER}"}
    assert 0 < float(rows[1]["interval_low"]) < 0.1 and rows[1]["in_doubt"] == "True"
    assert rows[5]["differentiated_fraction"] == ""


@pytest.mark.parametrize("names", [f"name={NAME}", f"name={NAME}&name={OTHER_NAME}"])
def test_plots_come_as_png_and_as_svg_whose_text_is_text(site, names) -> None:
    png = site.look(f"/series/plot.png?{names}").body
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (720, 1080, 3) and (image < 250).any(axis=2).mean() > 0.01
    svg = site.look(f"/series/plot.svg?{names}")
    assert svg.headers["Content-Type"] == "image/svg+xml"
    texts = ["".join(one.itertext()) for one in ElementTree.fromstring(svg.body).iter()]
    assert any("differentiated, % of cells" in text for text in texts)


@pytest.mark.parametrize("page", ["/series", "/series.json", "/series.csv", "/series/plot.svg"])
@pytest.mark.parametrize(
    "query", ["", "name=nobody", "&".join(f"name={number}" for number in range(20))]
)
def test_wrong_requests_are_refused_with_a_reason(site, page, query) -> None:
    answer = site.look(f"{page}?{query}")
    assert answer.status == 404 and "Traceback" not in answer.text


def test_an_unknown_range_is_the_usual_one(site) -> None:
    assert site.look(f"/series?name={NAME}&days=-5").status == 200
