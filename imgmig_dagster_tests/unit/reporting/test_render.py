import base64
import csv
import hashlib
import io
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from imgmig_dagster.figures import figures_of
from imgmig_dagster.reporting.__main__ import schema
from imgmig_dagster.reporting.charts import latency, rows_and_rate
from imgmig_dagster.reporting.model import SummaryReport, Totals
from imgmig_dagster.reporting.render import publish, render_html, render_json, render_markdown, render_spot_check
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.traffic import Percentiles, TrafficRecord
from imgmig_dagster.verification.pictures import ShownPictures
from imgmig_dagster.verification.spot_check_results import ObjectFault, SpotCheckPair, StoredObject
from imgmig_dagster.verification.verification_result import Mismatch
from imgmig_dagster_tests.unit.reporting.stage_state import FACTS, MARCH, StageState, month, pair, spot_check

REPOSITORY = Path(__file__).parents[3]
IMG = "<img src=x onerror=alert(1)>"
HOSTILE = (
    IMG,
    '=HYPERLINK("x")',
    "＝1＋1",
    "line\r\n| next `code` | [link](javascript:1)\n# heading",
    "abc\u202egpj.exe",
    "{{ 7 * 7 }}",
    "<https://example.org> &lt;b&gt;",
)
TAGS_THAT_ACT = {"img", "iframe", "object", "embed", "link", "form", "base"}


NO_PICTURES = ShownPictures()


class Tags(HTMLParser):
    """Collects what a browser would make elements of, and the text that it would show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def assert_inert(page: str) -> None:
    tags = Tags(page)
    assert not TAGS_THAT_ACT & {tag for tag, _attributes in tags.found}
    assert sum(tag == "script" for tag, _attributes in tags.found) <= 1
    assert not [name for _tag, attributes in tags.found for name in attributes if name.startswith("on")]
    assert IMG in "".join(tags.text)
    assert "\u202e" not in page
    assert "49" not in re.findall(r"\b49\b", "".join(tags.text))


@pytest.fixture
def store(state: StageState) -> StateStore:
    return state.store


@pytest.fixture
def hostile(state: StageState) -> SummaryReport:
    state.window(MARCH, len(HOSTILE))
    state.migrate(MARCH, {"written": len(HOSTILE)})
    state.verify(
        MARCH,
        {"mismatch": len(HOSTILE)},
        [Mismatch(text, RowVerdict.MISMATCH, "s3Key", f'S:"secret {text}"', "NULL") for text in HOSTILE],
        undeclared={IMG: 1},
    )
    state.fail(MARCH, *(Failure(text, None, "ValidationException", text, permanent=False) for text in HOSTILE))
    state.census(missing=1, samples={"missing": list(HOSTILE)})
    state.spot_check(pair(IMG, ("s3Key", 'S:"secret"', "NULL", False)))
    return state.report()


@pytest.fixture
def clean(state: StageState) -> SummaryReport:
    state.window(month(1), 0)
    state.clean(MARCH, 100)
    state.clean(month(4), 50)
    state.census()
    return state.report()


def test_json_reads_back_into_the_same_report(hostile: SummaryReport) -> None:
    assert TypeAdapter(SummaryReport).validate_json(render_json(hostile)) == hostile


def test_html_of_hostile_data_is_inert(hostile: SummaryReport) -> None:
    assert_inert(render_html(hostile))


def test_markdown_of_hostile_data_is_inert(hostile: SummaryReport) -> None:
    text = render_markdown(hostile)
    assert "<" not in text.replace("\\<", "")
    assert "\\`code\\`" in text
    assert "https\\://" in text
    assert "\u202e" not in text
    assert "\\\\u202E" in text
    assert not [line for line in text.splitlines() if line.startswith(("# heading", "| next"))]
    # A row of a table has as many cells as its head.
    failures = text.split("### Failures")[1].split("###")[0]
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in failures.splitlines() if line.startswith("|")}
    assert cells == {6}
    assert "[" not in text.replace("\\[", "")


def test_csv_cells_are_no_formulas(store: StateStore, hostile: SummaryReport) -> None:
    publish(store, hostile)
    for name in ("partitions.csv", "failures.csv", "mismatches.csv"):
        found = store.read(f"reports/{name}")
        assert found is not None
        cells = [cell for row in csv.reader(io.StringIO(found.content.decode(), newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))]
    mismatches = store.read("reports/mismatches.csv")
    assert mismatches is not None
    rows = list(csv.DictReader(io.StringIO(mismatches.content.decode(), newline="")))
    assert [row["key"].removeprefix("'") for row in rows] == list(HOSTILE)
    assert rows[1]["key"] == '\'=HYPERLINK("x")'


def contents(store: StateStore, report: SummaryReport) -> dict[str, str]:
    found = {name: store.read(f"reports/{name}") for name in publish(store, report)}
    return {name: each.content.decode() for name, each in found.items() if each is not None}


@pytest.fixture
def faulty(state: StageState) -> StageState:
    state.window(MARCH, 2)
    state.migrate(MARCH, {"written": 1, "rejected": 1})
    state.verify(
        MARCH, {"mismatch": 1, "missing": 1}, [Mismatch("a", RowVerdict.MISMATCH, "s3Key", "secret 1", "secret 2")]
    )
    state.fail(MARCH, Failure("b", "s3_key", "item_too_large", "too large", permanent=True, value="secret 3"))
    state.spot_check(pair("a", ("s3Key", "secret 4", "secret 5", False)))
    return state


def test_no_report_holds_a_value(faulty: StageState) -> None:
    # The ledger and the evidence hold values, as where they were to be shown before.
    for name, content in contents(faulty.store, faulty.report()).items():
        assert "secret" not in content, name


def test_reports_hold_values_where_they_are_to_be_shown(faulty: StageState) -> None:
    found = contents(faulty.store, faulty.report(replace(FACTS, show_values=True)))
    shown = {name: sorted(set(re.findall(r"secret \d", re.sub("</?mark>", "", found[name])))) for name in found}
    assert shown == {
        "summary.json": ["secret 1", "secret 2", "secret 3"],
        "summary.md": ["secret 1", "secret 2", "secret 3"],
        "summary.html": ["secret 1", "secret 2", "secret 3"],
        "certificate.json": [],
        "partitions.csv": [],
        "failures.csv": ["secret 3"],
        "mismatches.csv": ["secret 1", "secret 2"],
    }


def test_the_schema_in_the_documents_is_that_of_the_report() -> None:
    assert (REPOSITORY / "docs/summary.schema.json").read_text(encoding="utf-8") == schema()


def test_published_files_are_where_it_says(store: StateStore, clean: SummaryReport) -> None:
    found = publish(store, clean)
    assert sorted(found) == [
        "certificate.json",
        *("failures.csv", "mismatches.csv", "partitions.csv", "summary.html", "summary.json", "summary.md"),
    ]
    for location in found.values():
        assert stat.S_IMODE(Path(location).stat().st_mode) == 0o600


def test_partitions_csv_keeps_integers_where_others_are_absent(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.window(month(4), 50)
    publish(state.store, state.report())
    found = state.store.read("reports/partitions.csv")
    assert found is not None
    first, second = csv.DictReader(io.StringIO(found.content.decode()))
    assert (first["verdict"], first["migrated"], first["match"]) == ("PASS", "100", "100")
    assert (second["verdict"], second["migrated"], second["match"]) == ("NOT VERIFIED", "", "")


def test_page_and_markdown_show_the_same_figures_and_the_page_what_they_mean(clean: SummaryReport) -> None:
    page, text = render_html(clean), render_markdown(clean)
    for figure in (figures_of(Totals)[name] for name in ("migrated", "success_rate", "mismatches_found")):
        assert f'<div title="{figure.meaning}"><dt>{figure.label.capitalize()}</dt>' in page
        assert f"\n| {figure.label} | " in text
    assert f'title="{figures_of(MigrationResult)["skipped"].meaning}"><button type="button">Skipped</button>' in page


def test_the_page_begins_with_the_verdict_and_needs_no_network(clean: SummaryReport) -> None:
    page = render_html(clean)
    assert "<title>PASS: migration of images, stage staging</title>" in page
    assert "<strong>PASS</strong>" in page
    assert 'Cutover: <b class="not-verified">NOT READY</b>' in page
    references = [
        value
        for _tag, attributes in Tags(page).found
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "action"} and value and not value.startswith("#")
    ]
    assert references == []
    assert "1 partition is empty:\n2024-01-01." in page


def test_charts_are_named_themed_and_the_same_each_time(faulty: StageState) -> None:
    faulty.migrate(MARCH, {"written": 1, "rejected": 1}, 12, traffic=TrafficRecord({"1": 1}, {"2.2": 3}, {"60": 4}))
    faulty.verify(MARCH, {"mismatch": 2}, [Mismatch("a", RowVerdict.MISMATCH, "s3Key", "x", "y")])
    page = render_html(faulty.report())
    assert page == render_html(faulty.report())
    assert re.findall('<svg role="img" aria-label="([^"]*)"', page) == [
        "Rows and migration rate of 1 partition, 2024-03-01 to 2024-03-01",
        "Outcomes of the passes, in rows",
        "Mismatches by field",
        "Read and write latency of 1 partition, 2024-03-01 to 2024-03-01",
        "Throttled requests in 1 minute each, UTC",
    ]
    for drawing in re.findall("<svg.*?</svg>", page, re.DOTALL):
        assert "currentColor" in drawing
        assert not re.search("#0[0-9]0[0-9]0[0-9]|<metadata|<style", drawing)


def test_a_chart_of_thousands_of_partitions_is_no_larger_than_one_of_hundreds() -> None:
    def drawn(number: int) -> tuple[int, int]:
        """How many shapes and marks the charts of so many partitions have."""
        record = TrafficRecord(reads={"1": 1}, writes={"2.2": 3})
        partitions = [
            SimpleNamespace(partition=str(n), rows=n, migration=SimpleNamespace(rate=1.0 + n % 7), traffic=record)
            for n in range(number)
        ]
        svg = rows_and_rate(partitions) + latency(partitions)  # type: ignore[arg-type]  # what a chart reads of them
        return svg.count("<path") + svg.count("<rect"), svg.count("<use")

    assert drawn(2_000) == drawn(400) < drawn(200)


def test_latency_is_of_all_requests_and_not_a_mean_of_partitions(state: StageState) -> None:
    for window, traffic in ((MARCH, TrafficRecord(writes={"1": 990})), (month(4), TrafficRecord(writes={"100": 10}))):
        state.window(window, 10)
        state.migrate(window, {"written": 10}, traffic=traffic)
        state.verify(window, {"match": 10}, traffic=TrafficRecord(reads={"4.7": 1}, throttled={"60": 2}))
    report = state.report()
    assert report.totals.latency == {"read": Percentiles(2, 4.7, 4.7, 4.7), "write": Percentiles(1_000, 1, 1, 1)}
    assert report.totals.traffic.throttled == {"60": 4}
    april = list(csv.DictReader(io.StringIO(contents(state.store, report)["partitions.csv"])))[1]
    assert (april["read_p50_ms"], april["write_p99_ms"], april["throttles"]) == ("4.7", "100.0", "1")


def test_long_lists_are_cut_and_say_so(state: StageState) -> None:
    state.window(MARCH, 300)
    state.verify(
        MARCH, {"missing": 300}, [Mismatch(f"row-{n}", RowVerdict.MISSING) for n in range(250)], mismatches_found=300
    )
    report = state.report()
    page, text = render_html(report), render_markdown(report)
    assert "row-199" in page
    assert "row-200" not in page
    assert "300 were found: the first 200 are here,\n250 in mismatches.csv" in page
    assert "row-19 " in text
    assert "row-20 " not in text
    assert "The first 20 of 300; 250 are in mismatches.csv" in text


def test_a_report_without_any_state_can_be_rendered(state: StageState) -> None:
    state.window(MARCH, 0)
    report = state.report()
    assert "<svg" not in render_html(report)
    assert "NOT VERIFIED" in render_markdown(report)


def test_success_is_never_rounded_up(state: StageState) -> None:
    state.window(MARCH, 1_000_000)
    state.migrate(MARCH, {"written": 999_999, "failed": 1})
    assert "99.99 %" in render_html(state.report())


def hostile_pair(text: str) -> SpotCheckPair:
    found = StoredObject(text, text, 5, text, [ObjectFault.TYPE])
    return pair(text, ("originalFilename", text, f"{text}x", False), picture=found)


def test_a_spot_check_shows_values_marks_differences_and_is_inert() -> None:
    pairs = [hostile_pair(text) for text in HOSTILE]
    page = render_spot_check(spot_check(*pairs), "staging", NO_PICTURES)
    assert_inert(page)
    assert "<mark>x</mark>" in page
    assert '<span class="escape">\\u202E</span>' in page
    assert '<span class="escape">\\r</span><span class="escape">\\n</span>' in page
    assert '<bdi dir="auto"' in page


def test_two_spellings_that_look_alike_are_told_apart() -> None:
    found = pair("a", ("originalFilename", "caf\u00e9.png", "cafe\u0301.png", False))
    page = render_spot_check(spot_check(found), "staging", NO_PICTURES)
    assert "U+00E9" in page
    assert "U+0065 U+0301" in page


@pytest.mark.parametrize(
    ("agree", "source_rows", "said"),
    [
        ([True] * 50, 15_432, "at most 3/50 = 6.0 % of"),
        ([True] * 2, 2, "Every image of the source is on this page."),
        ([True, False], 15_432, "1 of 2 differ"),
        ([], 0, "nothing drawn"),
    ],
)
def test_a_spot_check_says_its_seed_and_what_it_proves(agree: list[bool], source_rows: int, said: str) -> None:
    pairs = [pair(str(n), ("width", "N:1", "N:1", agrees)) for n, agrees in enumerate(agree)]
    page = render_spot_check(spot_check(*pairs, source_rows=source_rows), "staging", NO_PICTURES)
    assert said in page
    assert "with seed <code>7</code>" in page


def test_an_image_without_an_item_never_looks_equal() -> None:
    found = pair("a", ("width", "NULL", "absent", True), has_item=False)
    page = render_spot_check(spot_check(found), "staging", NO_PICTURES)
    assert "The target has no item of this image" in page
    assert "1 of 1 differ" in page


def test_a_spot_check_shows_pictures_or_links_to_them_and_says_what_is_wrong_in_s3() -> None:
    gone = StoredObject("images-prod", "uploads/2.jpg", None, None, [ObjectFault.MISSING])
    shown = ShownPictures({"a": "data:image/png;base64,AAAA"}, {"b": [("picture", "https://s3/b?X=1&Y=2")]})
    page = render_spot_check(spot_check(pair("a"), pair("b", picture=gone)), "staging", shown)
    tags = Tags(page)
    assert [attributes["src"] for tag, attributes in tags.found if tag == "img"] == ["data:image/png;base64,AAAA"]
    assert "https://s3/b?X=1&Y=2" in [attributes["href"] for tag, attributes in tags.found if tag == "a"]
    assert '<span class="verdict fail">missing</span>' in page
    assert "0 of 2 differ" in page
    assert '<span class="verdict not-verified">1 of 2</span>' in page


def test_of_a_stage_with_several_tables_the_page_names_the_table_in_its_commands() -> None:
    page = render_spot_check(spot_check(pair("a", ("width", "1", "2", False))), "staging", NO_PICTURES, "orders")
    assert page.count("imgmig ") == page.count("--stage staging --table orders") == 3


def test_the_page_runs_its_own_script_only_and_asks_no_network() -> None:
    page = render_spot_check(spot_check(pair("a")), "staging", NO_PICTURES)
    script = re.search("<script>(.*)</script>", page, re.DOTALL)
    assert script
    allowed = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{allowed}'"
    assert f'content="{policy}"' in page


def test_a_spot_check_of_a_table_without_pictures_shows_records_and_speaks_of_no_picture() -> None:
    records = replace(pair("1", ("width", "N:1", "N:2", False)), picture=None)

    page = render_spot_check(spot_check(records), "dev", NO_PICTURES)

    tags = Tags(page)
    shown = " ".join("".join(tags.text).split())
    assert "Spot check of 1 row, stage" in shown
    assert "N:1" in shown
    assert "Thumbnail" not in shown
    assert "image" not in shown.partition("const review")[0].partition("Rows that differ")[2]
    assert {name for name, _attributes in tags.found} & {"img", "figure"} == set()
