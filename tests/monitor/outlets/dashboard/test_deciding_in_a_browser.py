"""Signing in and deciding on a plan in a real browser, with its scripts and without them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from monitor.culture import PlanStatus
from monitor.outlets.dashboard.serving import listen, server_for
from tests.monitor.outlets.dashboard.browser import CHROMIUM, Browser
from tests.monitor.outlets.dashboard.test_deciding import PLAN, with_plan
from tests.monitor.outlets.dashboard.visits import SECRET, House, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture
def served(fresh_database, tmp_path) -> Iterator[tuple[House, str]]:
    with opened(fresh_database, tmp_path) as house:
        house.add("Olga")
        with_plan(house)
        dashboard = house.config.outlets.dashboard.model_copy(update={"port": 0})
        with listen(dashboard) as taken:
            server = server_for(house.app)
            thread = threading.Thread(target=server.run, args=([taken],))
            thread.start()
            try:
                yield house, f"http://127.0.0.1:{taken.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join(20)


def press(page: Browser, selector: str, then: str) -> None:
    """A click that leads to another page; `then` holds there."""
    page.run(
        f"window.before = true; document.querySelector('{selector}').dispatchEvent("
        "new MouseEvent('click', {bubbles: true, cancelable: true}))"
    )
    page.wait(f"!window.before && document.readyState === 'complete' && ({then})")


def sign_in(page: Browser, address: str) -> None:
    page.go(f"{address}/plan?id={PLAN}")
    page.wait("document.readyState === 'complete' && location.pathname === '/sign-in'")
    page.run("document.querySelector('#name').value = 'olga'")
    page.run(f"document.querySelector('#password').value = '{SECRET}'")
    press(page, "main form button", "location.pathname === '/plan'")


def test_a_plan_is_approved_without_a_region_by_clicking_on_it(served, tmp_path):
    house, address = served
    with Browser(tmp_path / "profile") as page:
        sign_in(page, address)
        page.wait("document.querySelector('#approve').textContent === 'Approve the plan'")
        page.run(
            "document.querySelector('a[data-region=\"2\"]').dispatchEvent("
            "new MouseEvent('click', {bubbles: true, cancelable: true}))"
        )
        page.wait("document.querySelector('#approve').textContent === 'Approve 2 of 3 regions'")
        assert page.run("location.search") == f"?id={PLAN}"
        press(page, "#approve", "document.body.innerText.includes('approved by Olga')")
        assert page.console == []
    plan = house.store.plans.plan(PLAN)
    assert plan.status is PlanStatus.APPROVED
    assert [one.region_id for one in plan.targets] == ["r1", "r3"]


def test_the_same_goes_without_scripts(served, tmp_path):
    house, address = served
    with Browser(tmp_path / "profile") as page:
        # Scripts of the page alone are off; the test's go on.
        page.ask("Emulation.setScriptExecutionDisabled", value=True)
        sign_in(page, address)
        assert page.run("document.querySelector('#approve').textContent").startswith("Approve what")
        press(page, 'a[data-region="2"] path', "location.search.includes('off=2')")
        press(page, "#approve", "document.body.innerText.includes('approved by Olga')")
    assert [one.region_id for one in house.store.plans.plan(PLAN).targets] == ["r1", "r3"]
