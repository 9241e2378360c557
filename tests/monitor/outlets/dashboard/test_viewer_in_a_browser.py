"""What scripts do with the page on a scan, in a real browser."""

from __future__ import annotations

import pytest

from tests.monitor.outlets.dashboard.browser import CHROMIUM, Browser
from tests.monitor.outlets.dashboard.test_viewer_pages import NAME
from tests.monitor.outlets.dashboard.viewed_site import viewed_site


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
def test_in_a_browser_keys_step_through_time_and_nothing_is_ever_blank(
    fresh_database, tmp_path
) -> None:
    with viewed_site(fresh_database, tmp_path) as site:
        look(site, tmp_path)


def look(site, tmp_path) -> None:
    first, second, _ = site.readings
    with Browser(tmp_path / "profile", width=900, height=800) as browser:
        browser.go(f"http://127.0.0.1:{site.port}/look?name={NAME}&layer=capture")
        browser.wait("document.getElementById('look').dataset.ready")
        # Whether there is a picture at a spot, in each frame that the browser draws.
        browser.run(
            """
            window.seen = [];
            const at = document.querySelector('.pane canvas');
            const watch = () => {
              const pen = at.getContext('2d'), w = at.width, h = at.height;
              const spot = pen.getImageData(w / 2 - 20, h / 2 - 60, 8, 8).data;
              window.seen.push(spot.every((value, i) => i % 4 !== 3 || value === 255));
              if (!window.enough) requestAnimationFrame(watch);
            };
            watch();
            """
        )
        for reading in (second, first):
            browser.press(",")
            browser.wait(f"new URL(location.href).searchParams.get('reading') === '{reading}'")
        browser.run("window.enough = true")
        assert browser.run("window.seen.length") > 2 and browser.run("window.seen.every(Boolean)")
        browser.press("w")
        browser.wait("document.querySelector('.panes.wipe .handle')")
        browser.wait("document.querySelector('.pane .title').textContent.includes('⇔')")
        browser.press("w")
        browser.wait("document.querySelector('.panes.one')")
        browser.press("1")
        # The middle, by its pixel and its place on the stage.
        said = r"/pixel \d+, \d+ · stage -?\d+\.\d, -?\d+\.\d µm/"
        browser.wait(f"{said}.test(document.querySelector('.where').textContent)")
        assert browser.run("document.querySelector('.bar').textContent").endswith("µm")
        # A style of OpenSeadragon's own for printing, and what this test itself does.
        harmless = ("inline style", "getImageData")
        ours = [one for one in browser.console if not any(text in one for text in harmless)]
        assert ours == []
