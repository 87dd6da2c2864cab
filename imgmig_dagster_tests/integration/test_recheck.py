"""What an auditor runs: recheck/recheck.py, as a process, on a good and on a damaged certificate."""

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.mapping.spec import KeyAttribute
from imgmig_dagster.mapping.template import Template
from imgmig_dagster_tests.arrange import MARCH, Source, Target, image, item_of, month, row_id
from imgmig_dagster_tests.audits import AS_OF, RECHECK, Audit, Said
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.fault_proxy import FaultProxy, unprocessed
from imgmig_dagster_tests.images import IMAGE


@pytest.fixture
def audit(source: Source, target: Target, tmp_path: Path) -> Audit:
    """Five rows of March, each with its item, and a certificate of them."""
    audit = Audit(source, target, tmp_path)
    source.insert(map(image, range(5)))
    for number in range(5):
        target.put(item_of(number))
    audit.certify()
    return audit


def test_a_good_certificate_agrees(audit: Audit) -> None:
    said = audit.run("--scan")
    assert said == Said(
        0,
        f"Stage dev, table images, as of {AS_OF}: verdict PASS\n"
        "agrees  2024-03-01: 5 rows agree with their items as certified\n"
        "agrees  0 items have no row\n"
        "2 of 2 findings agree\n",
        "",
    )


def edited(side: str, name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["partitions"][0][side].update({name: value})


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(("name", "value"), [("rows", 6), ("digest", "1")])
def test_an_edited_figure_is_named_although_the_hash_was_made_again(
    audit: Audit, side: str, name: str, value: Any
) -> None:
    audit.edit(edited(side, name, value))
    said = audit.run()
    assert said.exit_code == 1
    assert f"DIFFERS 2024-03-01: the {side}'s count and digest were " in said.out
    assert "; 5 rows agree with their items now\n" in said.out
    assert "say that they changed" not in said.out


def test_a_partition_without_figures_does_not_agree(audit: Audit) -> None:
    audit.edit(lambda document: document["partitions"][0].update(source=None, target=None))
    said = audit.run()
    assert said.exit_code == 1
    assert "the source's count and digest were none, and are 5 rows, " in said.out


def test_an_altered_file_is_not_believed(audit: Audit) -> None:
    audit.file.write_text(audit.file.read_text().replace('"rows": 5', '"rows": 4'))
    said = audit.run()
    assert (said.exit_code, said.out) == (2, "")
    assert "was altered since it was written" in said.error


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 3}', '{"format": 3, "sha256": ""}'])
def test_what_is_no_certificate_is_refused(audit: Audit, content: str) -> None:
    audit.file.write_text(content)
    said = audit.run()
    assert (said.exit_code, said.out) == (2, "")
    assert said.error.startswith("could not check: ")


def test_a_certificate_of_an_earlier_form_is_refused_with_what_to_do(audit: Audit) -> None:
    audit.edit(lambda document: document.update(format=2))
    said = audit.run()
    assert (said.exit_code, said.out) == (2, "")
    assert (
        "of format 2, and this recheck.py reads 3 and 4: use the recheck.py of the version that made it" in said.error
    )


def test_a_row_that_changed_since_is_named_and_not_its_value(audit: Audit) -> None:
    audit.source.update(2, original_filename="secret.jpg")
    said = audit.run()
    assert said.exit_code == 1
    assert "the source's count and digest were 5 rows, " in said.out
    assert "1 rows say that they changed since" in said.out
    assert f"1 of 5 rows do not agree: {row_id(2)} (updated_at, original_filename)" in said.out
    assert "target" not in said.out
    assert "secret" not in said.out


def test_rows_that_changed_on_both_sides_agree_now(audit: Audit) -> None:
    audit.source.update(2, width=7)
    audit.target.put(item_of(2, width={"N": "7"}, updatedAt={"S": "2024-06-01T00:00:00.000Z"}))
    audit.source.insert([image(5)])
    audit.target.put(item_of(5))
    audit.source.delete(0)
    audit.target.delete(0)
    said = audit.run("--scan")
    assert said.exit_code == 1
    assert "1 rows say that they changed since; 5 rows agree with their items now" in said.out
    assert "agrees  0 items have no row" in said.out


def test_a_changed_item_and_a_missing_one_are_named(audit: Audit) -> None:
    audit.target.put(item_of(1, width={"S": "640"}, height=None))
    audit.target.delete(3)
    said = audit.run()
    assert said.exit_code == 1
    assert f"2 of 5 rows do not agree: {row_id(1)} (width, height), {row_id(3)} (no item)" in said.out
    assert "the source's" not in said.out


def test_an_item_without_a_row_is_found_by_a_scan_alone(audit: Audit) -> None:
    audit.target.put(item_of(77))
    audit.target.put({"PK": {"S": "USER#1"}, "SK": {"S": "METADATA"}})
    audit.target.put({"PK": {"S": "IMAGE#1"}, "SK": {"S": "COMMENT#1"}})
    assert audit.run().exit_code == 0
    said = audit.run("--scan")
    assert said.exit_code == 1
    assert f"DIFFERS 1 items have no row: {row_id(77)} (no row)\n" in said.out


def test_rows_in_no_partition_are_named(audit: Audit) -> None:
    moments = ["2019-01-01T00:00:00Z", "2031-01-01T00:00:00Z", None, "infinity"]
    audit.source.insert(image(10 + number, created_at=moment) for number, moment in enumerate(moments))
    said = audit.run("--scan")
    assert said.exit_code == 1
    assert "DIFFERS 4 rows are in no certified partition: " in said.out
    assert all(row_id(10 + number) in said.out for number in range(4))
    assert "agrees  2024-03-01" in said.out
    assert "agrees  0 items have no row" in said.out


def test_timestamps_within_tolerance_are_counted(audit: Audit) -> None:
    audit.target.put(item_of(1, createdAt={"S": "2024-03-01T00:00:01.999Z"}))
    audit.target.put(item_of(2, createdAt={"S": "2024-03-01T00:00:03.100Z"}))
    audit.certify()
    said = audit.run()
    assert said.exit_code == 1
    assert f"1 of 5 rows do not agree: {row_id(2)} (created_at)" in said.out
    assert "1 of them agree with a timestamp that is off by less than 1 second" in said.out

    audit.target.put(item_of(2))
    audit.certify()
    assert audit.run().exit_code == 0


def test_other_spellings_agree(audit: Audit) -> None:
    audit.target.put(item_of(1, sizeBytes={"N": "1.001E3"}, createdAt={"S": "2024-03-01T02:00:01.000001+02:00"}))
    assert audit.run().exit_code == 0


def test_batches_and_what_a_throttled_table_leaves_unread(audit: Audit, proxy: FaultProxy) -> None:
    audit.source.insert(map(image, range(100, 320)))
    for number in range(100, 320):
        audit.target.put(item_of(number))
    audit.certify()
    audit.url = proxy.url
    proxy.inject(unprocessed(7), "BatchGetItem", times=2)

    assert "225 rows agree with their items as certified" in audit.run().out
    reads = proxy.of("BatchGetItem")
    assert [len(call.keys) for call in reads] == [100, 100, 39]
    assert all(table["ConsistentRead"] for call in reads for table in call.body["RequestItems"].values())


def test_what_is_written_between_the_looks_at_a_row_and_at_its_item_is_no_fault(
    audit: Audit, proxy: FaultProxy
) -> None:
    def write() -> None:
        audit.source.update(2, width=7)
        audit.target.put(item_of(2, width={"N": "7"}, updatedAt={"S": "2024-06-01T00:00:00.000Z"}))

    audit.url = proxy.url
    proxy.before(write, "BatchGetItem")
    said = audit.run()
    assert "5 rows agree with their items now" in said.out
    assert "do not agree" not in said.out


def test_an_id_that_is_there_twice_is_named(new_source: NewSource, target: Target, tmp_path: Path) -> None:
    # Our readers never make a certificate of such a table.
    twice = new_source(id_constraint="")
    twice.insert([image(0)])
    twice.execute("CREATE UNIQUE INDEX only_once ON {t} (id)")
    twice.execute("ALTER TABLE {t} ALTER COLUMN id SET NOT NULL")
    audit = Audit(twice, target, tmp_path)
    target.put(item_of(0))
    audit.certify()
    twice.execute(f"DROP INDEX {twice.schema}.only_once")
    twice.insert([image(0)])
    said = audit.run()
    assert said.exit_code == 1
    assert f"DIFFERS 1 ids occur twice in the source: {row_id(0)}" in said.out


def test_any_table_that_a_mapping_can_name(new_source: NewSource, target: Target, tmp_path: Path) -> None:
    odd = new_source(id_type="bigint", time_type="timestamp", schema='odd "%s', table="im%ages")
    odd.execute("ALTER TABLE {t} ALTER COLUMN mime_type TYPE character(12)")
    odd.execute("ALTER TABLE {t} ALTER COLUMN size_bytes TYPE numeric(30, 2)")
    odd.execute('ALTER TABLE {t} RENAME COLUMN width TO "wi%dth"')
    mapping = replace(
        IMAGE,
        primary_key=(KeyAttribute("PK", Template("{id}")), IMAGE.primary_key[1]),
        fields=tuple(replace(each, column="wi%dth") if each.column == "width" else each for each in IMAGE.fields),
    )
    odd.execute(
        "INSERT INTO {t} VALUES (7, gen_random_uuid(), '2024-04-01 01:30:00', 'infinity', 'naïve 🖼', '', 'b', NULL,"
        " 'image/png', 100, -1, NULL)"
    )
    user = odd.execute("SELECT user_id::text FROM {t}")[0][0]
    item = {
        **item_of(0, width={"N": "-1"}, height=None, thumbnailS3Key={"NULL": True}),
        "PK": {"S": "7"},
        "userId": {"S": user},
        "originalFilename": {"S": "naïve 🖼"},
        "s3Key": {"S": ""},
        "s3Bucket": {"S": "b"},
        "mimeType": {"S": "image/png   "},
        "sizeBytes": {"N": "1E2"},
        # Half past one in Berlin, where it is summer.
        "createdAt": {"S": "2024-03-31T23:30:00.000Z"},
    }
    target.put(item)
    audit = Audit(odd, target, tmp_path, mapping, (MARCH, month(2024, 4)), "Europe/Berlin")
    audit.certify()
    said = audit.run()
    assert "2024-03-01: 1 of 1 rows do not agree: 7 (updated_at)" in said.out
    assert "2024-04-01: 0 rows agree with their items as certified" in said.out

    odd.execute("UPDATE {t} SET updated_at = '2024-05-06 09:08:09.123456'")
    audit.certify()
    assert audit.run("--scan").exit_code == 0, audit.run("--scan").out


class TestItCouldNotLook:
    def test_postgresql_is_away(self, audit: Audit) -> None:
        said = audit.run(url="postgresql://nobody@127.0.0.1:1/none")
        assert (said.exit_code, said.error.count("\n")) == (2, 1)
        assert said.error.startswith("could not check: OperationalError: ")

    def test_a_policy_hides_rows(self, audit: Audit) -> None:
        audit.source.execute("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY")
        said = audit.run()
        assert said.exit_code == 2
        assert "row-level security" in said.error

    def test_there_is_no_such_table(self, audit: Audit) -> None:
        audit.edit(lambda document: document["identity"].update(target="arn:aws:dynamodb:us-east-1:1:table/gone"))
        said = audit.run()
        assert said.exit_code == 2
        assert "ResourceNotFoundException" in said.error


def test_its_help_has_an_example_and_the_exit_codes() -> None:
    said = subprocess.run([sys.executable, RECHECK, "--help"], capture_output=True, text=True, check=True).stdout
    assert "python recheck.py certificate.json --source" in said
    assert all(f"{code}: " in said for code in range(3))


def test_it_shares_no_code_with_what_it_checks_and_stays_three_small_files() -> None:
    files = sorted(path for path in RECHECK.parent.iterdir() if path.name != "__pycache__")
    assert [path.name for path in files] == ["contents.py", "recheck.py", "sides.py"]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    own = {path.stem for path in files}
    assert {name.split(".")[0] for name in modules} - sys.stdlib_module_names - own == {"boto3", "botocore", "psycopg"}
