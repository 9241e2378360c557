"""Who gets in, as whom, and what no page elsewhere can have done."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.routing import Route

from monitor.config import parse_config
from monitor.culture import AlertKind, NewAlert, Role
from monitor.errors import ConfigError
from monitor.outlets.dashboard.attempts import OF_A_NAME, OF_ONE, WITHIN, Attempts
from monitor.outlets.dashboard.forms import own_address
from monitor.outlets.dashboard.serving import listen_for
from tests.monitor.facts import NOW, hours, measure, minutes, place, read
from tests.monitor.outlets.dashboard.visits import SECRET, hidden, opened, send, sign_in

LOOKED_AT = ("/", "/plates", "/wall", "/changes", "/help",
             "/alerts", "/plans", "/dish?name=x", "/picture?reading=1", "/series.png?name=x",
             "/plan.png?id=x", "/plan?id=x", "/alert?id=1", "/decide?name=x", "/people",
             "/me", "/nowhere")  # fmt: skip
ACTS = ("/decide/note", "/decide/passage", "/decide/end", "/decide/resume", "/alert/answer",
        "/plan/approve", "/plan/reject")  # fmt: skip
ADMINS_ACTS = ("/people/add", "/people/role", "/people/password", "/people/disable",
               "/people/enable", "/people/sign-out")  # fmt: skip


@pytest.fixture
def house(fresh_database, tmp_path):
    with opened(fresh_database, tmp_path) as house:
        yield house


def test_without_accounts_everybody_who_reaches_the_pages_looks_and_nobody_decides(house):
    guest = house.visitor()
    assert guest.get("/").status_code == 200
    assert "users add NAME --role admin" in guest.get("/sign-in").text
    for path in ACTS + ADMINS_ACTS:
        assert guest.post(path, data={"token": ""}).status_code == 401, path


def test_with_accounts_nobody_sees_anything_before_signing_in(house):
    house.add("Ada", Role.ADMIN)
    guest = house.visitor()
    for path in LOOKED_AT:
        answer = guest.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in"), path
    for path in ACTS + ADMINS_ACTS:
        assert guest.post(path).status_code == 401, path
    for path in ("/alive", "/style.css", "/favicon.ico", "/sign-in"):
        assert guest.get(path).status_code == 200, path
    assert guest.get("/api/v1/dishes").status_code == 401
    assert guest.get("/api/v1/openapi.json").status_code == 401
    page = guest.get("/sign-in").text
    assert "<nav" not in page
    assert "daemon" not in page


def test_who_signs_in_comes_to_where_they_wanted_to_go(house):
    house.add("Ada", Role.ADMIN)
    guest = house.visitor()
    to = guest.get("/dish?name=3500003816/A1&days=3").headers["location"]
    form = hidden(guest.get(to).text) | {"name": "ada", "password": SECRET}
    answer = guest.post("/sign-in", data=form)
    assert answer.headers["location"] == "/dish?name=3500003816/A1&days=3"
    assert "Ada" in guest.get("/").text


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "/a\nb", "/" * 3000]
)
def test_nobody_is_led_elsewhere(to):
    assert own_address(to) == "/"


def test_the_cookie_is_for_the_server_alone(house, fresh_database, tmp_path):
    house.add("Ada", Role.ADMIN)
    cookie = sign_in(house.visitor(), "Ada").headers["set-cookie"]
    assert cookie.startswith("session=")
    for word in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=2592000"):
        assert word in cookie
    assert "Secure" not in cookie
    with opened(fresh_database, tmp_path, url="https://colonies.lab.example") as outside:
        outside.host = "https://colonies.lab.example"
        cookie = sign_in(outside.visitor(), "Ada").headers["set-cookie"]
        assert cookie.startswith("__Host-session=")
        assert "Secure" in cookie
        assert outside.visitor("Ada").get("/").status_code == 200


def test_a_wrong_name_and_a_wrong_password_are_told_alike(house):
    house.add("Ada", Role.ADMIN)
    house.add("Bob")
    house.store.people.disable("Bob", who="Ada", now=NOW)
    told = set()
    for name, password in (("Ada", "wrong wrong wrong"), ("Eve", SECRET), ("Bob", SECRET)):
        answer = sign_in(house.visitor(), name, password)
        assert answer.status_code == 403
        told.add(re.search(r'role="alert">([^<]*)<', answer.text)[1])
    assert told == {"Name and password do not fit."}


def test_who_guesses_has_to_wait_and_nobody_else(house, caplog):
    house.add("Ada", Role.ADMIN)
    house.add("Bob")
    for _ in range(OF_ONE):
        assert sign_in(house.visitor(), "Ada", "wrong wrong").status_code == 403
    refused = sign_in(house.visitor(), "Ada")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "300"
    assert "Try again in 5 minutes" in refused.text
    assert "sign-in of Ada from 127.0.0.1: too many attempts" in caplog.text
    assert SECRET not in caplog.text
    assert sign_in(house.visitor(), "Bob").status_code == 303
    assert sign_in(house.visitor(peer="192.0.2.9"), "Ada").status_code == 303
    house.clock.now += WITHIN
    assert sign_in(house.visitor(), "Ada").status_code == 303


def test_attempts_are_counted_by_name_from_everywhere_and_by_address_for_everyone():
    attempts = Attempts()
    for number in range(OF_A_NAME):
        assert attempts.begin("Ada", f"192.0.2.{number}", NOW) is None
    assert attempts.begin("ADA ", "198.51.100.1", NOW + minutes(1)) == WITHIN - minutes(1)
    attempts = Attempts()
    for number in range(OF_A_NAME):
        # All one machine's.
        assert attempts.begin(f"p{number}", f"2001:db8::{number:x}", NOW) is None
    assert attempts.begin("q", "2001:db8::ffff", NOW) is not None
    assert attempts.begin("q", "2001:db8:1::1", NOW) is None


def test_signing_in_well_is_no_attempt():
    attempts = Attempts()
    for _ in range(10 * OF_A_NAME):
        assert attempts.begin("Ada", "192.0.2.1", NOW) is None
        attempts.succeeded("Ada", "192.0.2.1")


def test_a_form_from_elsewhere_signs_nobody_in(house):
    house.add("Ada", Role.ADMIN)
    guest = house.visitor()
    form = hidden(guest.get("/sign-in").text) | {"name": "Ada", "password": SECRET}
    stranger = house.visitor()  # has none of the first one's cookies
    assert stranger.post("/sign-in", data=form).status_code == 403
    assert guest.post("/sign-in", data=form | {"token": "x"}).status_code == 403
    for site in ("cross-site", "same-site"):
        answer = guest.post("/sign-in", data=form, headers={"sec-fetch-site": site})
        assert answer.status_code == 403
    assert guest.post("/sign-in", data=form).status_code == 303


def test_every_address_that_changes_something_asks_for_a_form_of_ours(house):
    """Also one that is added later."""
    house.add("Ada", Role.ADMIN)
    ada = house.visitor("Ada")
    app = house.app._app  # beneath the headers
    known = {"/sign-in", "/theme", "/answer/{token}"}
    acts = [
        route.path for route in app.routes
        if isinstance(route, Route) and "POST" in (route.methods or ()) and route.path not in known
        and not route.path.startswith("/api/")
    ]  # fmt: skip
    assert set(ACTS + ADMINS_ACTS + ("/sign-out", "/me/password", "/me/end")) <= set(acts)
    other = house.visitor("Ada")
    foreign = hidden(other.get("/me").text, "/sign-out")["token"]
    for path in acts:
        for token in ("", "x" * 64, foreign):
            assert ada.post(path, data={"token": token}).status_code == 403, path
        own = {"token": hidden(ada.get("/me").text, "/sign-out")["token"]}
        elsewhere = ada.post(path, data=own, headers={"sec-fetch-site": "cross-site"})
        assert elsewhere.status_code == 403, path
    assert ada.get("/me").status_code == 200


def test_each_role_sees_and_does_what_it_may(house):
    house.add("Ada", Role.ADMIN)
    for name, role in (("Vic", Role.VIEWER), ("Olga", Role.OPERATOR)):
        house.add(name, role)
        guest = house.visitor(name)
        token = hidden(guest.get("/me").text, "/sign-out")["token"]
        assert guest.get("/").status_code == 200
        assert guest.get("/people").status_code == 403
        for path in ADMINS_ACTS:
            assert guest.post(path, data={"token": token}).status_code == 403, path
        for path in ACTS:
            refused = guest.post(path, data={"token": token}).status_code
            assert (refused == 403) == (role is Role.VIEWER), path
        assert (guest.get("/decide?name=x").status_code == 403) == (role is Role.VIEWER)
    assert house.visitor("Ada").get("/people").status_code == 200


def test_signing_out_ends_the_session_itself(house):
    house.add("Ada", Role.ADMIN)
    ada = house.visitor("Ada")
    stolen = dict(ada.cookies)
    assert send(ada, "/me", "/sign-out").headers["location"] == "/sign-in"
    thief = house.visitor()
    thief.cookies.update(stolen)
    assert thief.get("/").status_code == 303


def test_a_session_ends_when_it_is_not_used(house):
    house.add("Ada", Role.ADMIN)
    ada = house.visitor("Ada")
    house.clock.now += hours(11)
    assert ada.get("/").status_code == 200
    house.clock.now += hours(13)
    assert ada.get("/").status_code == 303


def test_a_person_changes_their_password_and_ends_their_other_sessions(house):
    house.add("Ada", Role.ADMIN)
    here, there, third = (house.visitor("Ada") for _ in range(3))
    assert here.get("/me").text.count("/me/end") == 2
    assert send(here, "/me", "/me/end").status_code == 303
    assert sorted(one.get("/").status_code for one in (there, third)) == [200, 303]
    new = "correct horse battery"
    wrong = send(here, "/me", "/me/password", old="wrong wrong", new=new, again=new)
    assert wrong.status_code == 403
    assert send(here, "/me", "/me/password", old=SECRET, new=new, again="x").status_code == 422
    assert send(here, "/me", "/me/password", old=SECRET, new="short", again="short"
                ).status_code == 422  # fmt: skip
    assert send(here, "/me", "/me/password", old=SECRET, new=new, again=new).status_code == 303
    assert here.get("/").status_code == 200
    assert [one.get("/").status_code for one in (there, third)] == [303, 303]
    assert sign_in(house.visitor(), "Ada").status_code == 403
    assert sign_in(house.visitor(), "Ada", new).status_code == 303


def test_an_admin_makes_changes_and_disables_accounts(house):
    house.add("Ada", Role.ADMIN)
    ada = house.visitor("Ada")
    made = send(ada, "/people", "/people/add", name="Bob", role="viewer", password=SECRET)
    assert made.status_code == 303
    twice = send(ada, "/people", "/people/add", name="bob", role="viewer", password=SECRET)
    assert twice.status_code == 422
    assert "such an account already" in twice.text
    bob = house.visitor("Bob")
    token = {"token": hidden(ada.get("/people").text, "/people/add")["token"], "name": "Bob"}
    assert ada.post("/people/role", data=token | {"role": "operator"}).status_code == 303
    assert ada.post("/people/role", data=token | {"role": "king"}).status_code == 422
    assert "operator" in bob.get("/me").text
    assert ada.post("/people/disable", data=token).status_code == 303
    assert bob.get("/").status_code == 303
    assert ada.post("/people/enable", data=token).status_code == 303
    assert ada.post("/people/sign-out", data=token).status_code == 303
    alone = ada.post("/people/disable", data=token | {"name": "Ada"})
    assert alone.status_code == 422
    assert "only admin" in alone.text


# --- a web server in front ------------------------------------------------------------------


@pytest.fixture
def behind(fresh_database, tmp_path):
    settings = {"header": "X-Remote-User", "proxies": ["127.0.0.1", "10.0.0.0/8"]}
    with opened(fresh_database, tmp_path, sign_in=settings) as house:
        house.add("Ada", Role.ADMIN)
        house.add("Zo\u00eb")
        yield house


def test_who_the_web_server_in_front_names_is_signed_in(behind):
    guest = behind.visitor()
    assert guest.get("/").status_code == 303
    page = guest.get("/me", headers={"X-Remote-User": "ada"})
    assert page.status_code == 200
    assert ">Ada<" in page.text
    assert guest.get("/", headers={"X-Remote-User": "Zo\u00eb".encode()}).status_code == 200
    refused = guest.get("/", headers={"X-Remote-User": "Eve"})
    assert refused.status_code == 403
    assert "Eve has no account here" in refused.text


def test_others_cannot_say_who_they_are(behind):
    stranger = behind.visitor(peer="192.0.2.66")
    for headers in (
        [("X-Remote-User", "Ada")],
        [("X-Remote-User", "Ada"), ("X-Forwarded-For", "127.0.0.1")],
    ):
        assert stranger.get("/", headers=headers).status_code == 303
    proxy = behind.visitor()
    two = [("X-Remote-User", "Zoe"), ("X-Remote-User", "Ada")]
    assert proxy.get("/", headers=two).status_code == 303


def test_a_form_of_whom_the_web_server_names_is_theirs_alone(behind):
    ada, zoe = {"X-Remote-User": "Ada"}, {"X-Remote-User": "Zo\u00eb".encode()}
    guest = behind.visitor()
    form = {"name": "Zo\u00eb", "role": "viewer"}
    own = hidden(guest.get("/people", headers=ada).text, "/people/role") | form
    assert guest.post("/people/role", data=own, headers=ada).status_code == 303
    assert guest.post("/people/role", data=own, headers=zoe).status_code == 403
    assert guest.post("/people/role", data=form, headers=ada).status_code == 403
    behind.clock.now += timedelta(days=3)
    assert guest.post("/people/role", data=own, headers=ada).status_code == 403


def test_new_people_may_look_where_the_lab_says_so(fresh_database, tmp_path):
    settings = {"header": "X-Remote-User", "proxies": ["127.0.0.1"], "unknown": "viewer"}
    with opened(fresh_database, tmp_path, sign_in=settings) as house:
        guest = house.visitor()
        # Who comes first is no admin by that.
        assert guest.get("/", headers={"X-Remote-User": "Eve"}).status_code == 403
        house.add("Ada", Role.ADMIN)
        assert guest.get("/", headers={"X-Remote-User": "Vic"}).status_code == 200
        assert house.store.people.person("Vic").role is Role.VIEWER
        house.store.people.disable("Vic", who="Ada", now=NOW)
        assert guest.get("/", headers={"X-Remote-User": "Vic"}).status_code == 403
        assert guest.get("/", headers={"X-Remote-User": "\t"}).status_code == 303


def test_attempts_are_those_of_the_one_that_the_web_server_speaks_for(behind):
    proxy = behind.visitor(peer="10.1.2.3")
    for _ in range(OF_ONE):
        sign_in(proxy, "Ada", "wrong wrong", **{"X-Forwarded-For": "8.8.8.8, 192.0.2.1"})
    # What stands before the last one was said by the client.
    again = sign_in(proxy, "Ada", **{"X-Forwarded-For": "9.9.9.9, 192.0.2.1"})
    assert again.status_code == 429
    assert sign_in(proxy, "Ada", **{"X-Forwarded-For": "192.0.2.2"}).status_code == 303
    assert "192.0.2.2" in proxy.get("/me").text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{header: X-Remote-User}", "give its address in proxies"),
        ("{header: Cookie, proxies: [127.0.0.1]}", "header of its own"),
        ("{header: 'X Y', proxies: [127.0.0.1]}", "header of its own"),
        ("{proxies: [0.0.0.0/0]}", "is everybody"),
        ("{proxies: [nginx]}", "no address or network"),
        ("{idle_h: 0}", "greater than or equal to 0.1"),
        ("{unknown: admin}", "viewer"),
    ],
)
def test_settings_that_cannot_be_are_said(text, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_config(f"outlets: {{dashboard: {{sign_in: {text}}}}}", where=Path("config.yaml"))


def test_it_listens_elsewhere_only_once_somebody_has_to_sign_in():
    text = "outlets: {dashboard: {host: 0.0.0.0, url: 'https://x.example'}}"
    dashboard = parse_config(text, where=Path("config.yaml")).outlets.dashboard
    dashboard = dashboard.model_copy(update={"port": 0})
    with pytest.raises(ConfigError, match="users add NAME --role admin"):
        listen_for(dashboard, has_accounts=False)
    listen_for(dashboard, has_accounts=True).close()


def test_where_others_reach_it_nothing_is_shown_should_the_accounts_be_gone(
    fresh_database, tmp_path
):
    """A record without accounts took the place of the one that it was started with."""
    with opened(fresh_database, tmp_path, host="0.0.0.0", url="http://x.example") as house:
        house.host = "http://x.example"
        assert house.visitor().get("/").status_code == 503
        assert house.visitor().get("/alive").status_code == 200


# --- links in mails -------------------------------------------------------------------------


def test_links_in_mails_go_on_working_without_signing_in(house):
    scan_id = measure(house.store, "a.tif", place("P/A1", key="s"))
    from monitor.culture import DishStatus, ScanDecision

    read(house.store, scan_id, ScanDecision(DishStatus.DIFFERENTIATING,
                                            (NewAlert(AlertKind.RAISED),)))  # fmt: skip
    house.add("Ada", Role.ADMIN)
    page = f"/answer/{house.links.token_for(house.store.alerts.alert(1), house.clock())}"
    guest = house.visitor()
    shown = guest.get(page)
    assert shown.status_code == 200
    assert "<nav" not in shown.text
    form = hidden(shown.text) | {"who": "Bob", "rest_h": "4"}
    assert guest.post(page, data=form).status_code == 303
    assert house.store.alerts.alert(1).acknowledged_by == "Bob"
    # Who has signed in answers by that name, whatever is typed.
    ada = house.visitor("Ada")
    form = hidden(ada.get(page).text) | {"who": "Eve", "note": "seen", "rest_h": "keep"}
    assert ada.post(page, data=form).status_code == 303
    assert house.store.alerts.alert(1).acknowledged_by == "Ada"
    # The link to the dish leads there by way of the sign-in page.
    assert guest.get("/dish?name=P/A1").headers["location"].endswith("next=/dish%3Fname%3DP/A1")
