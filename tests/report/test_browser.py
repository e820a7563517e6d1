"""A live JupyterLab in a real browser, as a user sees it; `browsers` says what that needs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import nbformat
import pytest

from browsers import browser, opened, shoot  # noqa: F401  # browser is a fixture
from prefill_router.files import project_root

pytestmark = [pytest.mark.slow, pytest.mark.weights]
EVIL = "<img src=x onerror='window.ran = 1'><script>window.ran = 2</script>"


@pytest.fixture(scope="module")
def lab(smoke_run, tmp_path_factory) -> Iterator[str]:
    """Address of a JupyterLab over notebooks 08 and 13, whose parameters say where the smoke
    profile ran.
    """
    folder = tmp_path_factory.mktemp("lab")
    run = shutil.copytree(
        smoke_run, folder / "run"
    )  # other tests compare the files of the run itself
    for number in ("08", "18"):
        [source] = (project_root() / "notebooks").glob(f"{number}_*.ipynb")
        notebook = nbformat.read(source, as_version=4)
        cell = next(
            cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
        )
        cell.source += (
            f"\nprofile = 'smoke'\nbuild_dir, results_dir, figures_dir = ({str(run)!r} + '/' + n"
            " for n in ('build', 'results', 'figures'))"
        )
        nbformat.write(notebook, folder / source.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_PREFER_ENV_PATH": "1"}  # as in the Makefile
    private = {
        name: str(folder / ".jupyter" / name)
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
    }
    log = (folder / "lab.log").open("w")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            str(folder),
            "--no-browser",
            "--allow-root",
            f"--ServerApp.port={port}",
            "--IdentityProvider.token=t",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        ],
        env=os.environ | settings | private,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api?token=t", timeout=2)
                break
            except OSError:
                assert process.poll() is None, (folder / "lab.log").read_text()
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def run_all(page, address: str, name: str) -> None:
    page.goto(
        f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?token=t"
    )  # of its own: else the notebook of another test is there as well
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=90_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").or_(
        page.locator("[title*='Idle']")
    ).first.wait_for(timeout=90_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def test_the_explorer_in_jupyterlab(browser, lab):
    page, errors = opened(browser)
    run_all(page, lab, "08_curves")
    slider = page.get_by_role("slider").first
    slider.wait_for(timeout=300_000)
    slider.scroll_into_view_if_needed()
    shown = page.locator(".widget-html img")
    before = shown.get_attribute("alt")
    assert "tolerance 0.05" in before and "Traffic:" in before
    shoot(page, "lab_explorer")
    slider.focus()
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    page.locator(".widget-html img[alt*='tolerance 0.2.']").wait_for(timeout=60_000)
    assert shown.get_attribute("alt") != before
    shoot(page, "lab_explorer_moved")
    page.locator(
        ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr'] >> text=Traceback"
    ).wait_for(state="detached")
    assert errors == []


def test_a_prompt_routed_in_jupyterlab(browser, lab):
    page, errors = opened(browser)
    run_all(page, lab, "18_route_your_own_prompt")
    button = page.get_by_role("button", name="Route", exact=True)
    button.wait_for(timeout=300_000)
    page.locator("textarea.widget-input, .widget-textarea textarea").first.fill(
        f"Name a river in France. {EVIL}"
    )
    button.scroll_into_view_if_needed()
    view = page.locator(".widget-html").last
    before = view.inner_text()
    button.click()
    page.wait_for_function(
        "([node, text]) => node.innerText !== text",
        arg=[view.element_handle(), before],
        timeout=60_000,
    )
    assert "Send it to" in view.inner_text()
    shoot(page, "lab_route")
    assert page.evaluate("window.ran") is None and errors == []
