"""Chromium looks at rendered pages and at Dagster's UI: `make test-e2e`. Needs nothing of the package."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

# The other tests' virtual environment has no browser to drive.
collect_ignore = [] if find_spec("playwright") else ["test_pages.py", "test_ui.py"]

if not collect_ignore:
    from playwright.sync_api import Browser, sync_playwright

    @pytest.fixture(scope="session")
    def browser() -> Iterator[Browser]:
        executable = shutil.which("chromium")
        assert executable, "Chromium is not installed"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            yield browser
            browser.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pages", type=Path, help="the folder that sample_pages filled; screenshots are put there too")
    parser.addoption("--imgmig", type=Path, help="the command line, which starts the sandbox and the UI")


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.config.getoption("--pages")
    return found.absolute()


@pytest.fixture(scope="session")
def imgmig(request: pytest.FixtureRequest) -> Path:
    found: Path = request.config.getoption("--imgmig")
    return found.absolute()
