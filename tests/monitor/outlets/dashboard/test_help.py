"""The documentation under /help, from files in the package, without anything from elsewhere."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from monitor.outlets.dashboard.help_pages import POLICY, HelpPages
from tests.monitor.outlets.dashboard.test_dashboard import site

__all__ = ["site"]


@pytest.fixture
def pages(tmp_path) -> HelpPages:
    folder = tmp_path / "help"
    (folder / "_static").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>Help</h1>")
    (folder / "_static" / "a.js").write_text("1")
    (folder / "_static" / "a.exe").write_text("1")
    (tmp_path / "secret.html").write_text("secret")
    return HelpPages(folder)


def ask(pages: HelpPages, path: str):
    return pages.give(Request({"type": "http", "path_params": {"path": path}, "headers": []}))


def test_pages_come_with_a_policy_that_lets_only_their_own_scripts_run(pages):
    page = ask(pages, "index.html")
    assert page.body == b"<h1>Help</h1>"
    assert page.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert ask(pages, "_static/a.js").headers["content-type"].startswith("text/javascript")


def test_the_address_alone_leads_to_the_first_page(pages):
    assert ask(pages, "").headers["location"] == "/help/index.html"


@pytest.mark.parametrize(
    "path",
    ["../secret.html", "_static/../../secret.html", "/etc/hosts.html", "_static", "_static/a.exe",
     "nothing.html", "..\\secret.html", ".hidden.html"],
)  # fmt: skip
def test_nothing_else_is_given(pages, path):
    with pytest.raises(HTTPException) as refused:
        ask(pages, path)
    assert refused.value.status_code == 404


def test_an_installation_without_documentation_says_so(tmp_path):
    with pytest.raises(HTTPException, match="make docs builds it"):
        ask(HelpPages(tmp_path), "index.html")


def test_the_dashboard_has_the_address(site):
    answer = site.look("/help/..%2f..%2fapp.py.html")
    assert answer.status == 404
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert site.look("/help").status in (307, 404)
    assert ("/help/index.html" in site.look("/").text) == (site.look("/help").status == 307)
