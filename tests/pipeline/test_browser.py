"""What people see after a run: the UI in a real headless browser, over the command's own home."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from itememb_dagster.assets import STAGES
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.definitions import AHEAD
from tests.conftest import TINY_OPTIONS

pytestmark = pytest.mark.slow
STARTED = 90.0
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


#: What a shell does to ``itememb ui &``: it must stop all the same.
AS_IN_THE_BACKGROUND = 'trap "" INT; exec "$0" "$@"'


@pytest.fixture(scope="module")
def served(tiny_raw, tmp_path_factory) -> Iterator[str]:
    """The address of ``itememb ui`` after ``itememb run``, in a home of their own."""
    folder = tmp_path_factory.mktemp("served")
    env = os.environ | {
        "DAGSTER_HOME": str(folder / "home"),
        "ITEMEMB_RAW": str(tiny_raw),
        "ITEMEMB_LAKE": str(folder / "lake"),
    }
    command = Path(sys.executable).with_name("itememb")
    subprocess.run([command, "run", *TINY_OPTIONS], env=env, check=True, cwd=folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["sh", "-c", AS_IN_THE_BACKGROUND, command, "ui", "--port", str(port)]
    server = subprocess.Popen(words, env=env, cwd=folder)
    try:
        wait_for(f"http://127.0.0.1:{port}/server_info", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + STARTED
    while time.monotonic() < end:
        assert server.poll() is None, "the UI ended by itself"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"nothing answered at {url} within {STARTED:.0f} s")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    playwright = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("browser"),
            executable_path=browser,
            args=list(FLAGS),
            # The list of assets draws only the rows that fit.
            viewport={"width": 1600, "height": 1000 + 100 * len(STAGES)},
        )
        yield context.new_page()
        context.close()


def test_every_asset_is_materialized(served, page, tiny_world):
    page.goto(f"{served}/assets")
    for stage in STAGES:
        link = page.locator(f'a[href="/assets/{"/".join(stage.key)}"]').first
        link.wait_for(timeout=60_000)
        row = link.locator('xpath=ancestor::*[contains(., "definitions")][1]')
        # A daily asset shows how many days are made, are not yet (a year ahead), and failed.
        made = (
            rf"{tiny_world.days + 1}\n(0\n)*{AHEAD.days - 1}\n(0\n)*{tiny_world.days + AHEAD.days}"
        )
        wanted = rf"{made} partitions" if stage.daily else "Materialized"
        page.wait_for_function(
            "([row, text]) => new RegExp(text).test(row.innerText)",
            arg=[row.element_handle(), wanted],
            timeout=60_000,
        )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_shows_its_result(served, page, check):
    page.goto(f"{served}/assets/{'/'.join(check.asset)}?view=checks&checkDetail={check.name}")
    page.get_by_text("Evaluation result").wait_for(timeout=60_000)
    assert check.name in page.inner_text("body")
    assert page.get_by_text("Passed", exact=True).count() == 1
