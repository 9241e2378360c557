"""The dashboard through a real server and real requests, over a real record."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import cv2
import numpy as np
import pytest

from monitor.config import Config, parse_config
from monitor.culture import (
    NOTHING_SAID,
    AlertKind,
    AlertTopic,
    DishStatus,
    Doubt,
    DoubtReason,
    NewAlert,
    ScanDecision,
    Severity,
)
from monitor.errors import ConfigError, OutletError
from monitor.jobs.plan_views import picture_of
from monitor.outlets.answer_links import AnswerLinks, LinkError, dish_page
from monitor.outlets.dashboard.app import build_app
from monitor.outlets.dashboard.pictures import Drawn, series_line
from monitor.outlets.dashboard.serving import listen, server_for
from monitor.record.overviews import SeriesPoint
from monitor.record.store import Store
from tests.monitor.facts import (
    DISH,
    NOW,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    removal_plan,
)

HOSTILE = "<script>alert(1)</script>\"'/A1"


@dataclass
class Clock:
    now = NOW + hours(1)

    def __call__(self):
        return self.now


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Site:
    """A running dashboard and what it stands on."""

    port: int
    store: Store
    config: Config
    links: AnswerLinks
    clock: Clock
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            if body is not None:
                headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def look(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def answer_page(self, alert_id: int = 1) -> str:
        token = self.links.token_for(self.store.alerts.alert(alert_id), self.clock())
        return f"/answer/{token}"

    def send(self, page: str, as_of: str | None = None, **form: str) -> Answer:
        if as_of is None:
            as_of = as_of_in(self.look(page).text)
        return self.ask("POST", page, urlencode({"as_of": as_of} | form))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_of_in(page: str) -> str:
    (found,) = re.findall(r'name="as_of" value="([^"]*)"', page)
    return unescape(found)


@pytest.fixture
def site(fresh_database, tmp_path) -> Iterator[Site]:
    folder = tmp_path / "state"
    folder.mkdir()
    shutil.copy(fresh_database, folder / "colonywatch.sqlite")
    config = parse_config(f"record: {{folder: {folder}}}", where=tmp_path / "config.yaml")
    links = AnswerLinks(config.secret_file, good_for=timedelta(days=7))
    clock = Clock()
    taken = listen(config.outlets.dashboard.model_copy(update={"port": 0}))
    with Store(config.record.database_url) as store, taken:
        app = build_app(
            config,
            store,
            links,
            clock=clock,
            draw_plan=lambda plan: picture_of(plan, store, config),
        )
        server = server_for(app)
        thread = threading.Thread(target=server.run, args=([taken],))
        thread.start()
        try:
            yield Site(taken.getsockname()[1], store, config, links, clock)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def scan(
    site: Site,
    dish: str = DISH,
    *,
    number: int = 1,
    alert: NewAlert | None = None,
    status: DishStatus | None = None,
    doubt: Doubt = NOTHING_SAID,
    **plan,
):
    """One more scan of a dish, with its overlay on the disk."""
    name = f"{abs(hash(dish))}-{number}"
    overlay = f"overlays/{name}.jpg"
    path = site.config.record.folder / overlay
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.full((300, 400, 3), 40 * number % 255, np.uint8))
    measured = measurement(
        acquired_at=NOW + hours(number - 1), overlay=overlay, label_map=None,
        differentiated=100 + 10 * number, doubt=doubt,
    )  # fmt: skip
    where = place(dish, key=f"s{number}")
    scan_id = measure(site.store, f"{name}.tif", where, measured, at=NOW + minutes(number))
    usual = DishStatus.UNDIFFERENTIATED if alert is None else DishStatus.DIFFERENTIATING
    decision = ScanDecision(
        status or usual, () if alert is None else (alert,),
        severity=None if alert is None else alert.severity, **plan,
    )  # fmt: skip
    return read(site.store, scan_id, decision, at=NOW + minutes(number))


RAISED = NewAlert(AlertKind.RAISED, mail_to=("a@lab.org",))


class Sound(HTMLParser):
    """Every element that opens closes, none can do harm."""

    VOID = ("meta", "link", "img", "input", "br", "line", "circle", "polyline")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        assert tag not in ("style", "iframe", "object")
        assert tag != "script" or dict(attrs).get("src", "").startswith("/")
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read_page(answer: Answer) -> str:
    """The text of a page that is whole."""
    parser = Sound()
    parser.feed(answer.text)
    parser.close()
    assert parser.open == []
    return " ".join(parser.text.split())


# --- looking -----------------------------------------------------------------------------------


def test_an_empty_record_has_pages_too(site):
    for path in ("/", "/alerts", "/plans", "/?ended=1"):
        answer = site.look(path)
        assert answer.status == 200, path
        read_page(answer)
    assert "No dish has been recorded yet" in read_page(site.look("/"))
    assert "daemon is not running" in read_page(site.look("/"))


def test_the_overview_shows_each_dish_the_worst_first(site):
    scan(site, "P1/A1")
    scan(site, "P1/B2", alert=RAISED)
    scan(site, "P1/C3", alert=NewAlert(AlertKind.RAISED, severity=Severity.CRITICAL))
    text = read_page(site.look("/"))
    assert text.index("C3") < text.index("B2") < text.index("A1")
    assert "1 critical" in text
    assert "27 %" in text  # 110 of 410 cell pixels


def test_a_dish_above_the_limit_is_no_healthy_one_before_enough_scans_agree(site):
    """Two scans at 100 % of a new dish are no alert yet, and nothing to be calm about."""
    scan(site, "P1/A1")
    scan(site, "P1/B2", alert=RAISED)
    scan(site, "P1/C3", number=40, status=DishStatus.ABOVE_LIMIT)
    page = site.look("/").text
    text = read_page(site.look("/"))
    assert text.index("C3") < text.index("B2") < text.index("A1")
    assert "1 above the limit, not yet confirmed" in text
    assert text.count("above the limit, not yet confirmed") == 3  # counted, on its card, to choose
    assert 'class="card above"' in page
    assert "above the limit, not yet confirmed" in read_page(site.look("/dish?name=P1/C3"))


def test_wells_come_in_their_order_page_by_page(site):
    for well in ("A10", "B1", "A2", "A1"):
        scan(site, f"P1/{well}")
    shown = re.findall(r"<b>([AB]\d+)</b>", site.look("/").text)
    assert shown == ["A1", "A2", "A10", "B1"]
    since = NOW - hours(1)
    second = site.store.overviews.dishes(first=1, limit=2, since=since, points=5)
    assert [one.name for one in second] == ["P1/A2", "P1/A10"]


def test_a_dish_has_a_page_with_its_series_its_picture_and_what_people_wrote(site):
    for number in (1, 2, 3):
        scan(site, number=number)
    site.store.lines.annotate(DISH, "medium <b>changed</b>", at=NOW, who="Ada", now=NOW + hours(5))
    page = site.look(dish_page("", DISH))
    text = read_page(page)
    assert "A1 of 3500003816" in text
    assert "medium <b>changed</b>" in text
    pictures = [unescape(one) for one in re.findall(r'<img[^>]* src="(/[^"]*)"', page.text)]
    assert any(one.startswith("/series.png") for one in pictures)
    assert any(one.startswith("/picture?") for one in pictures)
    for one in pictures:
        answer = site.look(one)
        assert answer.status == 200, one
        assert answer.headers["Content-Type"].startswith("image/")


STRANGE = Doubt((DoubtReason.UNFAMILIAR,), (0.1, 0.62))


def test_pages_show_the_interval_and_why_the_network_is_in_doubt(site):
    scan(site, number=1, doubt=Doubt((), (0.2, 0.35), "ips 4x", calibrated=True))
    scan(site, number=2, doubt=STRANGE)
    why = "unlike the images the model has learnt from"
    text = read_page(site.look(dish_page("", DISH)))
    assert "90 % interval 10 to 62 %, not calibrated for this kind of image" in text
    assert f"In doubt{why}" in text
    assert "20 to 35 %" in text  # the earlier scan's, in the table
    assert text.count(f"in doubt: {why}") == 1  # in the table
    overview = site.look("/")
    assert "90 % interval 10 to 62 %" in read_page(overview)
    assert overview.text.count('<span class="tag">in doubt</span>') == 1
    assert overview.text.count('class="doubt"') == 1
    assert overview.text.count('<polygon class="interval"') == 1


def test_of_several_fields_each_says_its_own_doubt(site):
    sure = Doubt((), (0.2, 0.35), "ips 4x", calibrated=True)
    where = [place(key="s", field=name) for name in "ab"]
    scan_id = measure(site.store, "a.tif", where[0], measurement(doubt=sure))
    measure(site.store, "b.tif", where[1], measurement(differentiated=700, doubt=STRANGE))
    read(site.store, scan_id)
    text = read_page(site.look(dish_page("", DISH)))
    assert "In doubt: unlike the images the model has learnt from." in text
    assert "most differentiated cells, b: 70 % (90 % interval 10 to 62 %)" in text


def test_pages_say_nothing_of_a_doubt_that_the_model_cannot_tell(site):
    scan(site)
    for path in ("/", dish_page("", DISH)):
        page = site.look(path)
        for word in ("interval", "calibrated", "doubt"):
            assert word not in read_page(page)
        assert "<polygon" not in page.text
        assert 'class="doubt"' not in page.text


def test_a_line_has_a_band_for_each_run_of_scans_with_an_interval_and_all_lies_inside():
    ends = Doubt(interval=(0.0, 0.95))
    doubts = (ends, Doubt(), ends, STRANGE, Doubt(), Doubt((DoubtReason.UNCLEAR,)))
    series = [
        SeriesPoint(NOW + hours(place), 0.1, doubt=doubt) for place, doubt in enumerate(doubts)
    ]
    line = series_line(series, since=NOW, until=NOW + hours(6), limit=0.1)
    assert line is not None
    bands = re.findall(r'<polygon class="interval" points="([^"]*)"', line)
    assert len(bands) == 2
    assert len(re.findall(r'<circle class="doubt"', line)) == 2
    for band in bands:
        for x, y in (map(float, point.split(",")) for point in band.split()):
            assert 0 <= x <= 300
            assert 0 <= y <= 64


def test_a_plan_that_waits_is_shown_with_its_picture(site):
    scan(site, alert=RAISED, plan=removal_plan())
    text = read_page(site.look("/plans"))
    assert "waits for a person's approval" in text
    assert "colonywatch removals approve 20261103-00000001" in text
    picture = site.look("/plan.png?id=20261103-00000001")
    assert picture.status == 200
    assert picture.body.startswith(b"\x89PNG")


def test_text_from_captures_is_escaped_everywhere(site):
    scan(site, HOSTILE, alert=RAISED)
    for path in ("/", "/alerts", dish_page("", HOSTILE), site.answer_page()):
        answer = site.look(path)
        assert answer.status == 200
        assert "<script>" not in answer.text
        assert "alert(1)" in read_page(answer)


def test_every_answer_has_safe_headers(site):
    for path in ("/", "/alerts", "/plans", "/nowhere", "/dish?name=no", "/picture?reading=9",
                 "/style.css", "/answer/x"):  # fmt: skip
        headers = site.look(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert "script-src 'self';" in headers["Content-Security-Policy"], path
        assert "unsafe" not in headers["Content-Security-Policy"], path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["Referrer-Policy"] == "no-referrer", path
        assert headers["Server"] is None, path


NOT_THERE = {
    # path: status
    "/dish?name=unknown": 404,
    "/dish": 404,
    "/picture?reading=1&field=0": 404,
    "/picture?reading=-1": 400,
    "/picture?reading=9999999999999999999999": 400,
    "/picture?reading=1&field=5000": 400,
    "/picture?reading=x": 400,
    "/?page=99999999999": 400,
    "/?page=3": 200,
    "/plan.png?id=../../etc/passwd": 404,
    "/plan.png": 404,
    "/series.png?name=unknown": 404,
    "/../config.yaml": 404,
    "/style.css/../../app.py": 404,
    "/alive": 200,
    "/answer/": 404,
}


def test_what_is_not_there_is_said(site):
    assert {path: site.look(path).status for path in NOT_THERE} == NOT_THERE


def test_only_posts_to_an_answer_are_taken(site):
    scan(site, alert=RAISED)
    for method, path in (("POST", "/"), ("DELETE", "/dish"), ("PUT", site.answer_page())):
        assert site.ask(method, path, "who=Eve").status == 405
    assert site.store.alerts.alert(1).acknowledged_at is None


def test_another_host_name_is_refused(site):
    """A page elsewhere that gives its own name our address must not read along."""
    assert site.look("/", Host="evil.example").status == 400
    assert site.look("/", Host=f"localhost:{site.port}").status == 200


def test_a_picture_outside_of_the_record_is_not_given_out(site, tmp_path):
    secret = tmp_path / "elsewhere.jpg"
    secret.write_bytes(b"secret")
    outcome = scan(site)
    scan_id = measure(
        site.store, "b.tif", place("P/B1", key="s"),
        measurement(overlay="../elsewhere.jpg", acquired_at=NOW), at=NOW,
    )  # fmt: skip
    other = read(site.store, scan_id)
    assert outcome is not None
    assert other is not None
    assert site.look(f"/picture?reading={outcome.reading.id}&field=0").status == 200
    assert site.look(f"/picture?reading={other.reading.id}&field=0").status == 404


def test_a_dish_whose_picture_is_gone_is_shown_all_the_same(site):
    scan(site)
    shutil.rmtree(site.config.record.folder / "overlays")
    assert site.look("/").status == 200
    assert site.look(dish_page("", DISH)).status == 200


def test_a_page_costs_the_same_however_long_the_record_is(site):
    for number in range(1, 31):
        scan(site, number=number)
    page = site.look(dish_page("", DISH) + "&days=3").text
    assert page.count("<tr>") <= 1 + 15 + 1 + 12


# --- answering -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_following_a_link_changes_nothing(site, method):
    """Mail scanners follow every link before a person does."""
    scan(site, alert=RAISED)
    assert site.ask(method, site.answer_page()).status == 200
    alert = site.store.alerts.alert(1)
    assert alert.acknowledged_at is None
    assert alert.snoozed_until is None


def test_an_answer_says_who_and_what_and_is_remembered(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    done = site.send(page, who="Ada", note="removed by hand", rest_h="12")
    assert done.status == 303
    assert done.headers["Location"] == page
    alert = site.store.alerts.alert(1)
    assert (alert.acknowledged_by, alert.note) == ("Ada", "removed by hand")
    assert alert.snoozed_until == site.clock() + hours(12)
    cookie = done.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    again = site.look(page, Cookie=cookie.split(";")[0])
    assert 'value="Ada"' in again.text
    assert "Ada has known about it" in read_page(again)


def test_a_rest_can_be_kept_and_ended(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    site.send(page, who="Ada", rest_h="24")
    until = site.store.alerts.alert(1).snoozed_until
    assert "rest until" in site.look(page).text
    site.clock.now += hours(1)
    site.send(page, who="Ada", note="seen again", rest_h="keep")
    assert site.store.alerts.alert(1).snoozed_until == until
    site.clock.now += hours(1)
    site.send(page, who="Bob", rest_h="0")
    assert site.store.alerts.alert(1).snoozed_until is None


def test_an_answer_that_is_sent_again_changes_nothing(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    before = as_of_in(site.look(page).text)
    assert site.send(page, before, who="Ada", note="seen", rest_h="12").status == 303
    first = site.store.alerts.alert(1)
    site.clock.now += hours(5)
    assert site.send(page, before, who="Ada", note="seen", rest_h="12").status == 303
    assert site.store.alerts.alert(1) == first


def test_an_answer_on_what_was_seen_before_somebody_else_answered_is_not_taken(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    before = as_of_in(site.look(page).text)
    site.send(page, who="Ada", note="seen")
    late = site.send(page, before, who="Bob", note="mine")
    assert late.status == 409
    assert "Ada has known about it" in read_page(late)
    assert site.store.alerts.alert(1).acknowledged_by == "Ada"
    # Having seen that, Bob may.
    assert site.send(page, as_of_in(late.text), who="Bob", note="mine").status == 303
    assert site.store.alerts.alert(1).acknowledged_by == "Bob"


def test_an_alert_that_is_over_is_not_answered(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    before = as_of_in(site.look(page).text)
    scan(site, number=2, alert=NewAlert(AlertKind.CLEARED))
    assert "This alert is over" in read_page(site.look(page))
    assert site.send(page, before, who="Ada", rest_h="168").status == 409
    assert site.store.alerts.alert(1).snoozed_until is None


ODD_ANSWERS: tuple[dict[str, str], ...] = (
    {},
    {"who": "   "},
    {"who": "Ada", "rest_h": "-1"},
    {"who": "Ada", "rest_h": "100000"},
    {"who": "Ada", "rest_h": "nan"},
    {"who": "Ada", "rest_h": "soon"},
)


def test_an_answer_without_a_name_or_with_an_odd_time_is_asked_again(site):
    scan(site, alert=RAISED)
    for form in ODD_ANSWERS:
        assert site.send(site.answer_page(), **form).status == 422, form
    assert site.store.alerts.alert(1).acknowledged_at is None


def test_what_a_person_types_is_a_harmless_line(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    long = "x" * 3000
    done = site.send(page, who='A"><script>\r\nSet-Cookie: a=b', note=f"line\n<b>two</b> {long}")
    assert done.status == 303
    assert done.headers.get_all("Set-Cookie") and len(done.headers.get_all("Set-Cookie")) == 1
    alert = site.store.alerts.alert(1)
    assert alert.acknowledged_by == 'A"><script> Set-Cookie: a=b'
    assert alert.note is not None
    assert alert.note.startswith("line <b>two</b> xxx")
    assert len(alert.note) <= 500
    read_page(site.look(page))


def test_a_form_that_is_too_large_is_refused(site):
    scan(site, alert=RAISED)
    answer = site.ask("POST", site.answer_page(), "note=" + "x" * 100_000)
    assert answer.status == 413
    assert site.store.alerts.alert(1).acknowledged_at is None


def test_a_link_ends(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    before = as_of_in(site.look(page).text)
    site.clock.now += timedelta(days=7, minutes=1)
    for answer in (site.look(page), site.send(page, before, who="Ada")):
        assert answer.status == 410
        assert "expired" in read_page(answer)
    assert site.store.alerts.alert(1).acknowledged_at is None


def test_a_link_that_was_changed_is_refused(site):
    scan(site, alert=RAISED)
    page = site.answer_page()
    for bad in (page[:-1], page[:-4] + "AAAA", "/answer/eyJh.abc.def", "/answer/" + "a" * 5000):
        assert site.look(bad).status == 410
        assert site.send(bad, "", who="Eve").status == 410
    assert site.store.alerts.alert(1).acknowledged_at is None


# --- links --------------------------------------------------------------------------------


def test_a_link_is_for_one_alert_and_dies_with_its_secret(site, tmp_path):
    scan(site, alert=RAISED)
    alert = site.store.alerts.alert(1)
    token = site.links.token_for(alert, NOW)
    assert site.links.alert_of(token, NOW)[0] == alert.id
    other = AnswerLinks(tmp_path / "other.secret", good_for=timedelta(days=7))
    with pytest.raises(LinkError):
        other.alert_of(token, NOW)
    same = AnswerLinks(site.config.secret_file, good_for=timedelta(days=7))
    assert same.alert_of(token, NOW)[0] == alert.id


def test_an_alert_of_another_record_is_not_answered_by_its_number(site, tmp_path):
    """Numbers begin anew with a new record, and the secret may stay."""
    scan(site, alert=RAISED)
    token = site.links.token_for(site.store.alerts.alert(1), NOW)
    renumbered = Path(site.config.record.folder / "colonywatch.sqlite")
    assert renumbered.is_file()
    site.store.alerts.write(
        AlertKind.RAISED, AlertTopic.DISK_FULL, lambda _: NewAlert(AlertKind.RAISED),
        dish=None, source=None, now=NOW + hours(1),
    )  # fmt: skip
    other = site.store.alerts.alert(2)
    made_up = type(other)(**{**other.__dict__, "id": 1})
    wrong = site.links.token_for(made_up, NOW)
    assert wrong != token
    assert site.look(f"/answer/{wrong}").status == 410
    assert site.look(f"/answer/{token}").status == 200


def test_the_secret_is_for_its_owner_alone_and_stays(tmp_path):
    path = tmp_path / "new" / "links.secret"
    AnswerLinks(path, good_for=hours(1))
    content = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    AnswerLinks(path, good_for=hours(1))
    assert path.read_bytes() == content
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_programs_that_begin_at_once_have_one_secret(tmp_path):
    path = tmp_path / "links.secret"
    made: list[AnswerLinks] = []
    threads = [
        threading.Thread(target=lambda: made.append(AnswerLinks(path, good_for=hours(1))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one._secret for one in made}) == 1
    assert len(made) == 8


def test_a_secret_that_is_none_is_refused(tmp_path):
    path = tmp_path / "links.secret"
    path.write_bytes(b"short")
    with pytest.raises(OutletError, match="too short"):
        AnswerLinks(path, good_for=hours(1))
    path.unlink()
    path.mkdir()
    with pytest.raises(OutletError, match="secret_file"):
        AnswerLinks(path, good_for=hours(1))


# --- its server and its settings ------------------------------------------------------------


def test_an_address_that_is_taken_is_said(site):
    taken = site.config.outlets.dashboard.model_copy(update={"port": site.port})
    with pytest.raises(ConfigError, match="another program"):
        listen(taken)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{host: 0.0.0.0}", "url is needed"),
        ("{url: colonies.lab.example}", "https://colonies.lab.example"),
        ("{url: 'ftp://x'}", "address that people type"),
        ("{url: 'http://x/?a=b'}", "address that people type"),
        ("{url: 'http://user@x'}", "address that people type"),
        ("{port: 0}", "greater than or equal to 1"),
        ("{link_days: 0}", "greater than 0"),
        ("{password: x}", "not a known key"),
    ],
)
def test_settings_that_cannot_be_are_said(text, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_config(f"outlets: {{dashboard: {text}}}", where=Path("config.yaml"))


def test_pictures_that_were_drawn_are_kept_as_long_as_there_is_room():
    drawn = Drawn(megabytes=0.001)
    count = 0

    def draw() -> bytes:
        nonlocal count
        count += 1
        return b"x" * 600

    assert drawn.picture("a", draw) == drawn.picture("a", draw)
    assert count == 1
    drawn.picture("b", draw)
    drawn.picture("a", draw)
    assert count == 3
