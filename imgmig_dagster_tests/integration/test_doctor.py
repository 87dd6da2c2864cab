"""Each examination on a real server, healthy and broken; a broken thing never hides another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.doctor import aws_checks
from imgmig_dagster.doctor.aws_checks import aws_examinations, picture_examination
from imgmig_dagster.doctor.diagnosis import Diagnosis, Health, examine, exit_code
from imgmig_dagster.doctor.session_checks import session_examinations
from imgmig_dagster.doctor.source_checks import source_examinations
from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, Target, access, image, month, row_id
from imgmig_dagster_tests.conftest import NewSource, Services
from imgmig_dagster_tests.fault_proxy import FaultProxy, error
from imgmig_dagster_tests.images import IMAGE, PICTURE
from imgmig_dagster_tests.tls_front import self_signed, tls_front


def of_source(source: Source, url: str | None = None) -> dict[str, Diagnosis]:
    retry = RetryPolicy(delays=(0.0,), random=lambda: 0.0)
    connection = ReadOnlyConnections(url or source.url, retry, sleep=lambda _seconds: None)
    windows = [MARCH, month(2024, 4)]
    with SourceReader(connection, source.schema, source.table, IMAGE) as reader:
        found = examine(
            [
                *session_examinations(connection, source.schema, source.table, IMAGE.columns),
                *source_examinations(connection.fetch, reader, windows, str),
            ]
        )
    return {each.thing: each for each in found}


class TestSource:
    def test_a_healthy_one_has_no_fault_but_that_it_is_not_encrypted(self, source: Source) -> None:
        source.insert(image(number) for number in range(3))

        found = of_source(source)

        encrypted = found.pop("encryption")
        assert {each.health for each in found.values()} == {Health.OK}
        assert found["role"].found == "imgmig_reader may only SELECT, and reads only by default"
        assert found["server"].found.endswith("the primary")
        assert (encrypted.health, encrypted.found) == (Health.WARN, "not encrypted")
        assert "sslmode=verify-full" in encrypted.remedy

    def test_a_missing_index_is_named_with_a_statement_that_makes_it(self, source: Source) -> None:
        ((name,),) = source.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary",
            f"{source.schema}.images",
        )
        source.execute(f"DROP INDEX {name}")

        missing = of_source(source)["index for pages"]

        assert missing.health is Health.WARN
        source.execute(missing.remedy)
        assert of_source(source)["index for pages"].health is Health.OK

    @pytest.mark.parametrize(
        ("index", "serves"),
        [
            ("CREATE INDEX ON {t} (created_at DESC, id DESC)", True),
            ("CREATE INDEX ON {t} (created_at, id, width)", True),
            ("CREATE INDEX ON {t} (created_at)", False),
            ("CREATE INDEX ON {t} (id, created_at)", False),
            ("CREATE INDEX ON {t} (created_at, id DESC)", False),
            ("CREATE INDEX ON {t} (created_at NULLS FIRST, id NULLS FIRST)", False),
            ("CREATE INDEX ON {t} (created_at, id) WHERE width > 0", False),
            ("CREATE INDEX ON {t} (created_at) INCLUDE (id)", False),
            ("CREATE INDEX ON {t} USING gist (int8range(size_bytes, size_bytes))", False),
        ],
    )
    def test_the_index_agrees_with_what_the_planner_makes_of_it(self, source: Source, index: str, serves: bool) -> None:
        source.insert(image(number) for number in range(3))
        for (name,) in source.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary",
            f"{source.schema}.images",
        ):
            source.execute(f"DROP INDEX {name}")
        source.execute(index)

        assert (of_source(source)["index for pages"].health is Health.OK) is serves
        source.execute("SET enable_sort = off")
        source.execute("SET enable_seqscan = off")
        try:
            plan = source.execute(
                "EXPLAIN SELECT * FROM {t} WHERE created_at >= '2024-01-01' ORDER BY created_at, id LIMIT 2"
            )
        finally:
            source.execute("RESET enable_sort")
            source.execute("RESET enable_seqscan")
        assert any("Sort" in line for (line,) in plan) is not serves

    def test_a_role_that_may_write_is_a_warning_with_its_grants(self, source: Source, services: Services) -> None:
        assert of_source(source, services.owner_url)["role"].found == "imgmig is a superuser"
        source.execute("GRANT INSERT, DELETE ON {t} TO imgmig_reader")
        writer = of_source(source)["role"]
        assert (writer.health, writer.found) == (Health.WARN, "imgmig_reader may INSERT, DELETE")
        assert "deploy/reader_role.sql" in writer.remedy
        source.execute("REVOKE ALL ON {t} FROM imgmig_reader")
        source.execute("GRANT UPDATE (width) ON {t} TO imgmig_reader")
        assert of_source(source)["role"].found == f"imgmig_reader lacks SELECT ON {source.schema}.images"

    def test_a_role_whose_sessions_may_write_by_default_is_a_warning(self, source: Source) -> None:
        found = of_source(source, f"{source.url}?options=-cdefault_transaction_read_only%3Doff")["role"]

        assert found.health is Health.WARN
        assert found.remedy == "ALTER ROLE imgmig_reader SET default_transaction_read_only = on"

    def test_a_table_without_a_unique_id_fails_and_hides_nothing_of_the_server(self, new_source: NewSource) -> None:
        found = of_source(new_source(id_constraint="NOT NULL"))

        assert "no unique index on id" in found["table"].found
        assert (found["server"].health, found["role"].health) == (Health.OK, Health.OK)
        assert "rows outside partitions" in found["table"].not_looked_at, "it cannot be told"

    def test_rows_outside_are_counted_and_named(self, source: Source) -> None:
        source.insert([image(1), image(2, created_at="2019-01-01T00:00:00Z"), image(3, created_at=None)])

        outside = of_source(source)["rows outside partitions"]

        assert (outside.health, outside.found) == (Health.FAIL, f"2 rows, such as {row_id(2)}, {row_id(3)}")

    def test_a_server_that_is_away_is_told_once(self, source: Source) -> None:
        found = of_source(source, "postgresql://nobody@127.0.0.1:1/x")

        assert [(each.thing, each.unreachable) for each in found.values()] == [("server", True)]
        assert exit_code(found.values()) == 3

    def test_tls_that_ends_before_the_server_is_a_warning(
        self, source: Source, services: Services, tmp_path: Path
    ) -> None:
        certificate = self_signed(tmp_path, "IP:127.0.0.1")
        with tls_front(int(services.environment["PGPORT"]), certificate) as port:
            url = f"{source.url.rsplit(':', 1)[0]}:{port}/{services.environment['PGDATABASE']}"
            found = of_source(source, f"{url}?sslmode=verify-full&sslrootcert={certificate.file}")["encryption"]

        assert (found.health, found.found) == (Health.WARN, "as far as a pooler or proxy, not beyond it")

    def test_a_column_wise_grant_is_enough(self, source: Source) -> None:
        source.execute("REVOKE ALL ON {t} FROM imgmig_reader")
        source.execute(f"GRANT SELECT ({', '.join(COLUMNS)}) ON {{t}} TO imgmig_reader")

        assert {each.health for each in of_source(source).values()} == {Health.OK, Health.WARN}
        assert of_source(source)["role"].health is Health.OK

    @pytest.mark.parametrize(
        ("revoked", "lacks"),
        [
            ("REVOKE ALL ON SCHEMA {s} FROM imgmig_reader", "USAGE ON SCHEMA {schema}"),
            ("REVOKE ALL ON {t} FROM imgmig_reader", "SELECT ON {schema}.images"),
            (
                "REVOKE ALL ON {t} FROM imgmig_reader; GRANT SELECT (id, user_id) ON {t} TO imgmig_reader",
                "SELECT (created_at, updated_at, original_filename, s3_key, s3_bucket, thumbnail_s3_key, mime_type, "
                "size_bytes, width, height) ON {schema}.images",
            ),
        ],
    )
    def test_a_right_that_is_missing_is_named_with_its_grant(self, source: Source, revoked: str, lacks: str) -> None:
        expected = lacks.format(schema=source.schema)
        for statement in revoked.replace("{s}", source.schema).split("; "):
            source.execute(statement)

        found = of_source(source)

        assert (found["role"].health, found["role"].found) == (Health.FAIL, f"imgmig_reader lacks {expected}")
        assert found["role"].remedy == f"GRANT {expected} TO imgmig_reader"
        with source.reader() as reader, pytest.raises(SourceRefused) as caught:
            reader.count(MARCH)
        denied = f"permission denied for {'schema ' + source.schema if 'SCHEMA' in lacks else 'table images'}"
        assert f"SQLSTATE 42501): imgmig_reader, {denied}: imgmig doctor names it" in str(caught.value)


def of_aws(settings: Settings) -> dict[str, Diagnosis]:
    return {each.thing: each for each in examine(aws_examinations(settings, IMAGE))}


class TestAws:
    def test_a_healthy_set_up(self, settings: Any, services: Services, target: Target) -> None:
        s3 = access(services.dynamodb_url).client("s3")
        s3.create_bucket(Bucket="doctors-state")
        found = of_aws(settings(IMGMIG_STATE_URL="s3://doctors-state/x", IMGMIG_REPORTS_URL="s3://doctors-state/y"))

        assert {thing: each.health for thing, each in found.items()} == {
            "identity": Health.OK,
            "endpoint": Health.WARN,  # moto's
            "table": Health.OK,
            "writing state": Health.OK,
            "capacity": Health.WARN,  # a new table's, and no ceiling
            "point-in-time recovery": Health.WARN,
            "census": Health.OK,
            "status": Health.OK,
            "stream": Health.OK,
            "Kinesis stream": Health.OK,
            "replicas": Health.OK,
            "time to live": Health.OK,
            "indexes": Health.OK,
            "writable": Health.OK,
            "bucket for state": Health.OK,
            "bucket for reports": Health.OK,
        }
        assert found["identity"].found.startswith("account 123456789012, region us-east-1, arn:aws:sts::123456789012:")
        assert target.name in found["table"].found
        assert exit_code(found.values()) == 0
        assert "Contents" not in s3.list_objects_v2(Bucket="doctors-state"), "the probe is gone"

    def test_point_in_time_recovery_that_is_on(self, settings: Any, target: Target) -> None:
        made = settings()
        target.client.update_continuous_backups(
            TableName=target.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
        assert of_aws(made)["point-in-time recovery"].health is Health.OK

    def test_another_account_than_the_configured_one_fails(self, settings: Any) -> None:
        found = of_aws(settings(IMGMIG_AWS_ACCOUNT="999999999999"))["identity"]

        assert found.health is Health.FAIL
        assert (
            found.remedy == "the credentials are of account 123456789012, and aws_account in [target] is 999999999999"
        )

    def test_missing_tables_and_buckets_and_an_unwritable_state_are_each_told(
        self, settings: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "a-file").write_text("")
        found = of_aws(
            settings(
                IMGMIG_TARGET_TABLE="no-such-table",
                IMGMIG_STATE_URL=(tmp_path / "a-file").as_uri(),
                IMGMIG_REPORTS_URL="s3://no-such-bucket/x",
            )
        )

        failed = {thing: each.found for thing, each in found.items() if each.health is Health.FAIL}
        of_the_table = {
            "table",
            "writing state",
            "capacity",
            "point-in-time recovery",
            "census",
            "status",
            "stream",
            "replicas",
            "indexes",
        }
        hidden = {thing for each in found.values() for thing in each.not_looked_at}
        assert failed.keys() | hidden == {*of_the_table, "writable", "bucket for reports"}
        assert "check table in [target]" in failed["table"]
        assert "File exists" in failed["writable"]
        assert "HeadBucket of no-such-bucket" in failed["bucket for reports"]
        assert found["identity"].health is Health.OK
        assert exit_code(found.values()) == 1

    def test_what_nothing_of_aws_can_be_asked_with_is_told_once_for_each_service(self, settings: Any) -> None:
        found = examine(aws_examinations(settings(AWS_PROFILE="nobody", IMGMIG_STATE_URL="s3://state/x"), IMAGE))

        assert [each.service for each in found] == ["AWS", "DynamoDB", "state", "S3"]
        assert all("(nobody) could not be found" in each.found and "as it says" in each.remedy for each in found)
        assert exit_code(found) == 1

    def test_a_wrong_key_schema_fails(self, settings: Any, other_table: str) -> None:
        found = of_aws(settings(IMGMIG_TARGET_TABLE=other_table))

        assert (found["table"].health, found["capacity"].health) == (Health.FAIL, Health.WARN)
        assert "has the key [('id', 'S')]" in found["table"].found

    @pytest.mark.parametrize(
        ("rate", "health", "remedy"),
        [
            (None, Health.WARN, "set write_units_per_s in [target]"),
            (5.0, Health.OK, ""),
            (6.0, Health.WARN, "provide 6 units/s"),
        ],
    )
    def test_provisioned_capacity_is_held_against_the_planned_rate(
        self, services: Services, other_table: str, rate: float | None, health: Health, remedy: str
    ) -> None:
        found = aws_checks.check_capacity(access(services.dynamodb_url), other_table, rate)

        assert (found[0], found[1].startswith("provisioned, 5 units/s")) == (health, True)
        assert remedy in found[2]

    def test_on_demand_is_held_against_what_it_is_warm_for(self, services: Services, target: Target) -> None:
        health, found, remedy = aws_checks.check_capacity(access(services.dynamodb_url), target.name, 100_000.0)

        assert (health, "warm for" in found) == (Health.WARN, True)
        assert remedy.endswith("--warm-throughput WriteUnitsPerSecond=100000")

    def test_a_lack_of_permission_is_the_finding_of_that_call_alone(self, settings: Any, proxy: FaultProxy) -> None:
        proxy.inject(error("AccessDeniedException"), "DescribeContinuousBackups")
        found = of_aws(settings(AWS_ENDPOINT_URL_DYNAMODB=proxy.url))

        assert (
            found["point-in-time recovery"].found == "AWS answered AccessDeniedException to DescribeContinuousBackups"
        )
        assert found["table"].health is Health.OK
        assert proxy.writes == []


class TestPictureBuckets:
    @staticmethod
    def found(source: Source, s3: str, source_url: str | None = None) -> list[Diagnosis]:
        retry = RetryPolicy(delays=(0.0,), random=lambda: 0.0)
        connection = ReadOnlyConnections(source_url or source.url, retry, sleep=lambda _seconds: None)
        with SourceReader(connection, source.schema, source.table, IMAGE) as reader:
            return examine(
                [
                    *session_examinations(connection, source.schema, source.table, IMAGE.columns)[:1],
                    picture_examination(access(s3), reader, PICTURE),
                ]
            )

    def test_those_that_are_missing_or_can_be_none_are_a_warning_with_their_rows(
        self, source: Source, services: Services
    ) -> None:
        access(services.dynamodb_url).client("s3").create_bucket(Bucket="doctors-pictures")
        named = ["doctors-pictures"] * 3 + ["no-such-bucket"] * 2 + ["no bucket's name", None]
        source.insert(image(number, s3_bucket=name) for number, name in enumerate(named))

        *_server, missing = self.found(source, services.dynamodb_url)
        source.execute("DELETE FROM {t} WHERE s3_bucket LIKE 'no%%'")
        *_server, fixed = self.found(source, services.dynamodb_url)

        assert (missing.service, missing.thing, missing.health) == ("S3", "buckets of pictures", Health.WARN)
        first, second = missing.found.split("; ")
        assert (first.startswith("AWS answered 404 to HeadBucket of no-such-bucket"), first[-9:]) == (True, "(rows: 2)")
        assert second.startswith("AWS allows no such name in HeadBucket of no bucket's name")
        assert missing.remedy.startswith("fix s3_bucket of those rows, or allow s3:ListBucket")
        assert exit_code([missing]) == 0, "a migration runs without them"
        assert (fixed.health, fixed.found) == (Health.OK, "doctors-pictures (rows: 3)")

    def test_a_table_without_rows_names_none(self, source: Source, services: Services) -> None:
        *_server, found = self.found(source, services.dynamodb_url)

        assert (found.health, found.found) == (Health.OK, "no row names one")

    def test_an_s3_that_is_away_is_told_and_without_the_source_it_is_not_asked(
        self, source: Source, services: Services
    ) -> None:
        source.insert([image(1)])

        *_server, away = self.found(source, "http://127.0.0.1:1")
        without_source = self.found(source, services.dynamodb_url, "postgresql://nobody@127.0.0.1:1/x")

        assert (away.health, away.unreachable) == (Health.FAIL, True)
        assert [(each.service, each.unreachable) for each in without_source] == [("PostgreSQL", True)]


@pytest.fixture
def other_table(services: Services) -> Iterator[str]:
    services.dynamodb.create_table(
        TableName="doctors-other-keys",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    yield "doctors-other-keys"
    services.dynamodb.delete_table(TableName="doctors-other-keys")
