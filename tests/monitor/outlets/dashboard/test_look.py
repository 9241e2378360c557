"""Light and dark, and many readers at once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from tests.monitor.outlets.dashboard.test_dashboard import read_page, scan, site

__all__ = ["site"]


def choose(site, to: str, back: str = "/alerts"):
    return site.ask("POST", "/theme", urlencode({"to": to, "back": back}))


def test_a_reader_chooses_dark_pages_and_stays_where_they_were(site):
    assert "data-theme" not in site.look("/alerts").text
    chosen = choose(site, "dark", "/dish?name=P1/A1&days=3")
    assert chosen.status == 303
    assert chosen.headers["Location"] == "/dish?name=P1/A1&days=3"
    cookie = chosen.headers["Set-Cookie"].split(";")[0]
    for path in ("/", "/alerts", "/nowhere"):
        assert '<html lang="en" data-theme="dark">' in site.look(path, Cookie=cookie).text
    back = choose(site, "")
    assert 'theme=""' in back.headers["Set-Cookie"]


def test_the_switch_says_which_colours_are_chosen(site):
    page = site.look("/?page=0", Cookie="theme=light").text
    assert re.findall(r'value="(\w*)" aria-pressed="true"', page) == ["light"]
    assert 'name="back" value="/?page=0"' in page
    read_page(site.look("/"))


@pytest.mark.parametrize(
    "back",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:x", "", "/a\r\nb",
     "/" + "x" * 3000],
)  # fmt: skip
def test_a_switch_leads_to_no_other_site(site, back):
    assert choose(site, "dark", back).headers["Location"] == "/"


def test_a_colour_that_is_none_is_none(site):
    assert 'theme=""' in choose(site, "<script>").headers["Set-Cookie"]
    assert "data-theme" not in site.look("/", Cookie="theme=<script>").text


def test_files_of_pages_are_kept_by_browsers_under_an_address_of_their_content(site):
    (address,) = re.findall(r'href="(/style[.]css[?]of=[^"]*)"', site.look("/").text)
    assert "immutable" in site.look(address).headers["Cache-Control"]
    assert "immutable" not in site.look("/style.css").headers["Cache-Control"]
    assert site.look("/favicon.ico").headers["Content-Type"] == "image/svg+xml"


def test_two_hundred_readers_at_once_are_all_answered(site):
    scan(site)
    with ThreadPoolExecutor(200) as readers:
        found = list(readers.map(lambda _: site.look("/").status, range(200)))
    assert found == [200] * 200
