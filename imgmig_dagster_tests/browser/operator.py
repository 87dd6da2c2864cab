"""A person at Dagster's UI: what they click, and what they read. Needs nothing of the package."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Locator, Page, expect

_PATIENCE_S = 600
_SHOWN_WITHIN_MS = 120_000
_LAUNCH = re.compile("^Launch")  # "1 run", or "backfill"
_RUNS = "{ runsOrError { ... on Runs { results { runId status runConfigYaml tags { key } } } } }"
_PARTITIONS = """{ assetNodeOrError(assetKey: {path: ["%s"]}) { ... on AssetNode {
    partitionStats { numMaterialized numFailed numMaterializing numPartitions } } } }"""
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


class Operator:
    """Works on the UI at `url` in one page of a browser, and leaves screenshots in `shots`."""

    def __init__(self, page: Page, url: str, shots: Path) -> None:
        self.page, self._url, self._shots = page, url, shots
        page.set_default_timeout(_SHOWN_WITHIN_MS)
        expect.set_options(timeout=_SHOWN_WITHIN_MS)

    def launch(self, job: str, partitions: str, config: str | None = None) -> list[dict[str, Any]]:
        """Launch a job for partitions (as the dialog's text field takes them, or ``All``), and wait for its run.

        Returns the runs that were started, newest first: id, status, config as YAML, tags. Up to a hundred partitions
        are one run.
        """
        before = {run["runId"] for run in self._runs()}
        self.page.goto(f"{self._url}/locations/__repository__@imgmig_dagster/jobs/{job}")
        self.page.get_by_role("button", name="Materialize").first.click()
        dialog = self.page.get_by_role("dialog")
        self._choose(dialog, partitions)
        if config is not None:
            self._configure(dialog, config)
        self.shoot(f"launch-{job}")
        dialog.get_by_role("button", name=_LAUNCH).click()
        return self._wait_for(before, 1)

    def launch_in_one_run(self, job: str) -> list[dict[str, Any]]:
        """Follow the link on a job's page to a run of all partitions, launch it, and wait for it."""
        return self._wait_for(self._start_in_one_run(job), 1)

    def terminate_half_way(self, job: str, asset: str, stop: Callable[[], object]) -> list[dict[str, Any]]:
        """Launch such a run, make it stand still by `stop` when it has made two partitions of an asset, and terminate
        it."""
        before = self._start_in_one_run(job)
        self.page.wait_for_url("**/runs/**")
        self._wait_until(lambda: self.partitions(asset)["numMaterialized"] >= 2)
        stop()
        self.page.get_by_role("button", name="Terminate").first.click()
        self.page.get_by_role("dialog").get_by_role("button", name="Terminate").click()
        return self._wait_for(before, 1)

    def partitions(self, asset: str) -> dict[str, int]:
        """How many partitions of an asset are in which state."""
        found: dict[str, int] = self._ask(_PARTITIONS % asset)["assetNodeOrError"]["partitionStats"]
        return found

    def _start_in_one_run(self, job: str) -> set[str]:
        before = {run["runId"] for run in self._runs()}
        self.page.goto(f"{self._url}/locations/__repository__@imgmig_dagster/jobs/{job}")
        self.page.get_by_role("link", name="All partitions in one run").click()
        expect(self.page.get_by_text("asset_partition_range_end")).to_be_visible()
        self.shoot(f"launchpad-{job}")
        self.page.get_by_role("button", name="Launch Run").click()
        return before

    def open_check(self, asset: str, check: str) -> Locator:
        """The page of a check: its last evaluation, and its history."""
        self.page.goto(f"{self._url}/assets/{asset}?view=checks&checkDetail={check}")
        expect(self.page.get_by_text("Evaluation result")).to_be_visible()
        return self.page.locator("body")

    def open_check_partitions(self, asset: str, check: str) -> Locator:
        """How many partitions a check holds of, and of how many it does not."""
        page = self.open_check(asset, check)
        page.get_by_text("Partitions", exact=True).last.click()
        expect(page.get_by_text(re.compile(r"^Execution Failed \("))).to_be_visible()
        return page

    def expect_partitions(self, asset: str, failed: int, materialized: int) -> None:
        """How many partitions are red in the asset's Partitions tab, and how many are green."""
        page = self.open(f"assets/{asset}?view=partitions")
        for status, count in (("Failed", failed), ("Materialized", materialized), ("Materializing", 0)):
            expect(page.get_by_text(f"{status} ({count})", exact=True)).to_be_visible()

    def open(self, path: str) -> Locator:
        """Another page."""
        self.page.goto(f"{self._url}/{path}")
        return self.page.locator("body")

    def shoot(self, name: str) -> None:
        """Leave a screenshot for people to look at."""
        self.page.screenshot(path=self._shots / f"ui-{name}.png")

    def _choose(self, dialog: Locator, partitions: str) -> None:
        # With more than 90 days of partitions the dialog offers the last 90 only, "All" among them.
        every = dialog.get_by_text("Show all partitions")
        field = dialog.get_by_role("textbox").first
        expect(field).to_be_visible()
        if every.is_visible():
            every.click()
        if partitions == "All":
            dialog.get_by_role("button", name="All", exact=True).click()
        else:
            field.fill(partitions)
            field.press("Enter")
        expect(dialog.get_by_role("button", name=_LAUNCH)).to_be_enabled()

    def _configure(self, dialog: Locator, config: str) -> None:
        dialog.get_by_text("Config", exact=True).click()
        dialog.get_by_role("button", name="Add config").click()
        editor = self.page.get_by_role("dialog").last
        editor.locator(".CodeMirror").last.click()
        self.page.keyboard.insert_text(config)
        editor.get_by_role("button", name="Save config").click()
        expect(dialog.get_by_text("Config saved")).to_be_visible()

    def _wait_for(self, before: set[str], count: int) -> list[dict[str, Any]]:
        def started() -> list[dict[str, Any]]:
            return [run for run in self._runs() if run["runId"] not in before]

        self._wait_until(lambda: [run["status"] in _ENDED for run in started()] == [True] * count)
        return started()

    def _wait_until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline, [run["status"] for run in self._runs()]
            time.sleep(0.5)

    def _runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(_RUNS)["runsOrError"]["results"]
        return found

    def _ask(self, query: str) -> Any:
        request = Request(  # noqa: S310  # our own http
            f"{self._url}/graphql",
            json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=120) as reply:  # noqa: S310
            return json.load(reply)["data"]
