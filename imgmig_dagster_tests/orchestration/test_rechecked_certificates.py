"""A certificate as a report makes it, checked by what an auditor has: recheck.py, and psql with its statements."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.state import names
from imgmig_dagster_tests.arrange import COLUMNS, image, item_of, row_id
from imgmig_dagster_tests.orchestration.arrange import FEBRUARY, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.documents import REPOSITORY
from imgmig_dagster_tests.unit.source.test_published import psql


@pytest.fixture
def certified(platform: Platform) -> Platform:
    """Two months, migrated and verified, and the report of them."""
    platform.source.insert([*images_of(2, range(10, 14)), *images_of(3, range(5))])
    for partition in (FEBRUARY, MARCH):
        platform.succeed("migrate", partition)
        platform.succeed("verify", partition)
    platform.succeed("census")
    platform.succeed("report")
    return platform


def certificate(platform: Platform) -> dict[str, Any]:
    found = platform.state.read(names.report(names.CERTIFICATE))
    assert found
    document: dict[str, Any] = json.loads(found.content)
    return document


def recheck(platform: Platform, *options: str) -> subprocess.CompletedProcess[str]:
    file = Path(platform.state.locate(names.report(names.CERTIFICATE)))
    return subprocess.run(
        [sys.executable, REPOSITORY / "recheck" / "recheck.py", file, "--source", platform.source.url, *options],
        env=platform.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_auditor_finds_both_sides_as_they_were_certified(certified: Platform) -> None:
    found = recheck(certified, "--scan")
    assert (found.returncode, found.stderr) == (0, "")
    assert "agrees  2024-02-01: 4 rows agree with their items as certified\n" in found.stdout
    assert "agrees  2024-03-01: 5 rows agree with their items as certified\n" in found.stdout
    assert "verdict PASS" in found.stdout

    certified.change_item(12, "width", {"N": "1"})
    certified.target.put(item_of(77))
    certified.source.insert([image(50)])
    found = recheck(certified, "--scan")
    assert found.returncode == 1
    assert f"1 of 4 rows do not agree: {row_id(12)} (width)" in found.stdout
    assert f"1 of 6 rows do not agree: {row_id(50)} (no item)" in found.stdout
    assert f"DIFFERS 1 items have no row: {row_id(77)} (no row)" in found.stdout


def test_the_certificate_says_what_both_sides_held_and_psql_computes_the_same(certified: Platform) -> None:
    document = certificate(certified)
    february, march = document["partitions"]
    assert (february["partition"], february["start"], february["end"]) == (
        FEBRUARY,
        "2024-02-01T00:00:00+00:00",
        "2024-03-01T00:00:00+00:00",
    )
    assert february["source"]["first"] == {"at": "2024-02-10T00:00:00.000010", "key": row_id(10)}
    assert february["source"]["last"] == {"at": "2024-02-10T00:00:00.000013", "key": row_id(13)}
    assert february["target"]["last"] == {"at": "2024-02-10T00:00:00.000013", "key": f"IMAGE#{row_id(13)}"}
    mapping = document["recheck"]["mapping"]
    assert mapping["id"] == ["id"]
    assert mapping["key"][0] == {"attribute": "PK", "type": "S", "template": "IMAGE#{id}"}
    assert mapping["order"] == {"column": "created_at", "unit": None, "buckets": None, "has_undated": False}
    assert {name: value for name, value in mapping["fields"][0].items() if value} == {
        "column": "user_id",
        "attribute": "userId",
        "type": "text",
        "rule": "exact",
    }
    statement = document["recheck"]["source"]["statements"]["digest"]
    for each, rows in ((february, 4), (march, 5)):
        assert each["source"]["rows"] == each["target"]["rows"] == rows
        assert each["source"]["digest"] == each["target"]["digest"]
        window = each["start"], each["end"]
        assert psql(certified.source, statement, *window) == [[str(rows), each["source"]["digest"]]]


def test_a_partition_whose_evidence_does_not_count_has_no_figures(certified: Platform) -> None:
    certified.source.update(2, width=7)
    certified.succeed("migrate", MARCH)
    certified.run("report")
    february, march = certificate(certified)["partitions"]
    assert february["source"]
    assert (march["source"], march["target"]) == (None, None)
    found = recheck(certified)
    assert found.returncode == 1
    assert "DIFFERS 2024-03-01: the source's count and digest were none" in found.stdout


def test_where_a_row_has_no_equal_item_the_target_has_fewer_and_no_places(certified: Platform) -> None:
    certified.target.delete(3)
    certified.run("verify", MARCH)
    certified.run("report")
    _february, march = certificate(certified)["partitions"]
    assert (march["source"]["rows"], march["target"]["rows"]) == (5, 4)
    assert march["target"]["first"] is None
    found = recheck(certified)
    assert f"1 of 5 rows do not agree: {row_id(3)} (no item)" in found.stdout
    assert "as certified" in found.stdout.splitlines()[1], "February"


# Written from docs/recheck.md alone.
TWENTY_LINES = """
import hashlib, json, sys
from datetime import datetime, timedelta, timezone
certificate, rows = json.load(open(sys.argv[1], "rb")), json.load(sys.stdin)
mapping = certificate["recheck"]["mapping"]
columns = [(mapping["id"][0], "text"), *((each["column"], each["type"]) for each in mapping["fields"])]
epoch, millisecond = datetime(1970, 1, 1, tzinfo=timezone.utc), timedelta(milliseconds=1)

def written(value, kind):
    if value is None:
        return "-"
    if kind == "text":
        return f"S{len(value.encode())}:{value}"
    return f"N{value};" if kind == "integer" else f"T{(datetime.fromisoformat(value) - epoch) // millisecond};"

total = 0
for row in rows:
    content = "".join(written(row[name], kind) for name, kind in columns)
    total += int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big", signed=True)
print(len(rows), total)
"""


def test_twenty_lines_that_were_written_from_the_page_give_the_same_digest(certified: Platform) -> None:
    _february, march = certificate(certified)["partitions"]
    read = certified.source.execute("SELECT * FROM {t} WHERE created_at >= '2024-03-01Z'")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in read]
    plain = json.dumps(rows, default=lambda value: getattr(value, "isoformat", value.__str__)())

    said = subprocess.run(
        [sys.executable, "-c", TWENTY_LINES, certified.state.locate(names.report(names.CERTIFICATE))],
        input=plain,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert len([line for line in TWENTY_LINES.splitlines() if line]) <= 20
    assert said.split() == [str(march["source"]["rows"]), march["source"]["digest"]]
