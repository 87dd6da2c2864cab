"""What the doctor says of a table before it is written to in bulk; what moto does not know, a gate answers."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.doctor import hazards
from imgmig_dagster.doctor.diagnosis import Examination, Health, examine
from imgmig_dagster.doctor.hazards import check_status, check_stream
from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.sandbox import partiql
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster_tests.arrange import Target, access
from imgmig_dagster_tests.aws_gate import Answer, Asked, AwsGate, refused
from imgmig_dagster_tests.conftest import NewTable, Services
from imgmig_dagster_tests.fault_proxy import Action, FaultProxy, error, reply
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.integration.conftest import MakeSettings


def refused_by_statement(code: str) -> Action:
    """The only statement of a batch is refused by this code."""
    return reply(200, json.dumps({"Responses": [{"Error": {"Code": code, "Message": ""}}]}).encode())


@pytest.fixture
def asking(gate: AwsGate) -> AwsAccess:
    services = ("dynamodb", "lambda")
    return AwsAccess(
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
        endpoint_urls=tuple((service, gate.url) for service in services),
    )


def saying(**replies: Any) -> Callable[[Asked], Answer | None]:
    """Answers these operations with these replies."""

    def rule(asked: Asked) -> Answer | None:
        reply = replies.get(asked.operation)
        return None if reply is None else Answer(200, json.dumps(reply).encode(), {"Content-Type": "application/json"})

    return rule


def table_with(target: Target, **changes: Any) -> dict[str, Any]:
    """A reply of DescribeTable for the target as it would be with these changes."""
    found = target.client.describe_table(TableName=target.name)["Table"]
    found.pop("CreationDateTime")
    return {"Table": {**found, **changes}}


def test_a_table_with_nothing_behind_it_is_healthy(asking: AwsAccess, gate: AwsGate, target: Target) -> None:
    gate.rule = saying(DescribeKinesisStreamingDestination={"KinesisDataStreamDestinations": []})

    assert {
        hazards.check_status(asking, target.name)[0],
        hazards.check_stream(asking, target.name)[0],
        hazards.check_kinesis(asking, target.name)[0],
        hazards.check_replicas(asking, target.name, True)[0],
        hazards.check_time_to_live(asking, target.name, IMAGE)[0],
        hazards.check_indexes(asking, target.name, IMAGE)[0],
    } == {Health.OK}


@pytest.mark.parametrize(
    ("changes", "health", "said"),
    [
        ({"TableStatus": "UPDATING"}, Health.WARN, "the table is UPDATING"),
        ({"TableStatus": "CREATING"}, Health.FAIL, "the table is CREATING"),
        ({"TableStatus": "ARCHIVED"}, Health.FAIL, "the table is ARCHIVED"),
        (
            {"GlobalSecondaryIndexes": [{"IndexName": "by-user", "IndexStatus": "CREATING", "KeySchema": []}]},
            Health.WARN,
            "index by-user is CREATING",
        ),
    ],
)
def test_a_table_that_is_being_changed(
    asking: AwsAccess, gate: AwsGate, target: Target, changes: Any, health: Health, said: str
) -> None:
    gate.rule = saying(DescribeTable=table_with(target, **changes))

    found = hazards.check_status(asking, target.name)

    assert found[:2] == (health, said)
    assert ("aws dynamodb wait" in found[2]) is (changes.get("TableStatus") != "ARCHIVED")


class TestStream:
    @pytest.fixture
    def streaming(self, target: Target) -> Target:
        target.client.update_table(
            TableName=target.name,
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        return target

    def test_who_listens_is_named(self, asking: AwsAccess, gate: AwsGate, streaming: Target) -> None:
        function = "arn:aws:lambda:us-east-1:123456789012:function"
        mappings = [
            {"FunctionArn": f"{function}:welcome-mails", "State": "Enabled"},
            {"FunctionArn": f"{function}:audit", "State": "Disabled"},
        ]

        def rule(asked: Asked) -> Answer | None:
            if asked.service != "lambda":
                return None
            body = json.dumps({"EventSourceMappings": mappings}).encode()
            return Answer(200, body, {"Content-Type": "application/json"})

        gate.rule = rule
        health, found, remedy = hazards.check_stream(asking, streaming.name)

        # Of a mapping that is disabled the events wait for a day.
        assert (health, found) == (Health.WARN, "on: every written item is an event to welcome-mails, audit (disabled)")
        assert remedy

    def test_where_nobody_can_be_asked_it_is_said_whom_to_ask(
        self, asking: AwsAccess, gate: AwsGate, streaming: Target
    ) -> None:
        gate.rule = lambda asked: (
            Answer(403, b'{"Message": "no"}', {"x-amzn-ErrorType": "AccessDeniedException"})
            if asked.service == "lambda"
            else None
        )

        health, found, remedy = hazards.check_stream(asking, streaming.name)

        assert health is Health.WARN
        assert "AccessDeniedException" in found
        assert "list-event-source-mappings" in remedy

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:{port}"], ids=["away", "no TLS"])
    def test_a_lambda_that_cannot_be_reached_hides_nothing_of_the_table(
        self, asking: AwsAccess, gate: AwsGate, streaming: Target, url: str
    ) -> None:
        urls = (("dynamodb", gate.url), ("lambda", url.format(port=gate.server_port)))
        looks = [
            partial(look, replace(asking, endpoint_urls=urls), streaming.name) for look in (check_stream, check_status)
        ]

        found = examine(Examination("DynamoDB", "", look) for look in looks)

        assert [(each.health, each.unreachable) for each in found] == [(Health.WARN, False), (Health.OK, False)]
        assert "who listens is not known" in found[0].found

    def test_a_kinesis_stream_is_named(self, asking: AwsAccess, gate: AwsGate, target: Target) -> None:
        arn = "arn:aws:kinesis:us-east-1:123456789012:stream/changes"
        destinations = [{"StreamArn": arn, "DestinationStatus": "ACTIVE"}]
        gate.rule = saying(DescribeKinesisStreamingDestination={"KinesisDataStreamDestinations": destinations})

        assert hazards.check_kinesis(asking, target.name)[:2] == (
            Health.WARN,
            "every written item is a record of changes",
        )


@pytest.mark.parametrize(
    ("careful", "consistency", "health"),
    [(True, "EVENTUAL", Health.FAIL), (False, "EVENTUAL", Health.WARN), (True, "STRONG", Health.OK)],
)
def test_replicas_in_other_regions(
    asking: AwsAccess, gate: AwsGate, target: Target, careful: bool, consistency: str, health: Health
) -> None:
    table = table_with(target, Replicas=[{"RegionName": "eu-west-1"}], MultiRegionConsistency=consistency)
    gate.rule = saying(DescribeTable=table)

    found = hazards.check_replicas(asking, target.name, careful)

    assert found[0] is health
    assert found[1].startswith("replicas in eu-west-1")


def test_a_global_table_of_the_first_version_has_replicas_too(asking: AwsAccess, gate: AwsGate, target: Target) -> None:
    gate.rule = saying(DescribeTable=table_with(target, GlobalTableVersion="2017.11.29"))

    assert hazards.check_replicas(asking, target.name, True)[0] is Health.FAIL


@pytest.mark.parametrize(("attribute", "health"), [("expiresAt", Health.OK), ("sizeBytes", Health.WARN)])
def test_time_to_live(services: Services, target: Target, attribute: str, health: Health) -> None:
    target.client.update_time_to_live(
        TableName=target.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute}
    )

    found = hazards.check_time_to_live(access(services.dynamodb_url), target.name, IMAGE)

    assert found[0] is health
    assert attribute in found[1]


@pytest.mark.parametrize(
    ("attribute", "kind", "health", "said"),
    [
        ("thumbnailS3Key", "S", Health.WARN, "by-thumbnailS3Key has the key thumbnailS3Key (column thumbnail_s3_key)"),
        ("userId", "S", Health.WARN, "by-userId has the key userId (column user_id)"),
        ("width", "N", Health.WARN, "by-width has the key width (column width)"),
        ("sizeBytes", "N", Health.OK, "1; a write is paid for in each that holds the item"),
        (
            "sizeBytes",
            "S",
            Health.FAIL,
            "by-sizeBytes has the key sizeBytes (column size_bytes) of type S, and N is written",
        ),
        ("version", "S", Health.FAIL, "by-version has the key version of type S, and N is written"),
        ("somethingElse", "S", Health.OK, "1; a write is paid for in each that holds the item"),
    ],
)
def test_keys_of_indexes(
    services: Services, new_table: NewTable, attribute: str, kind: str, health: Health, said: str
) -> None:
    table = new_table(indexes={attribute: kind})

    assert hazards.check_indexes(access(services.dynamodb_url), table, IMAGE)[:2] == (health, said)


def test_what_may_not_be_looked_at_is_not_taken_for_healthy(asking: AwsAccess, gate: AwsGate, target: Target) -> None:
    gate.rule = lambda asked: refused(asked, "AccessDeniedException")

    for found in (hazards.check_kinesis(asking, target.name), hazards.check_time_to_live(asking, target.name, IMAGE)):
        assert (found[0], "not known" in found[1]) == (Health.WARN, True)


class TestBatchInserts:
    def test_a_role_that_may_insert_is_told_so_by_a_statement_that_stores_nothing(
        self, target: Target, proxy: FaultProxy
    ) -> None:
        found = hazards.check_batch_inserts(access(proxy.url), target.name, IMAGE)

        assert found == (Health.OK, "an INSERT is allowed: new items go 25 to a request", "")
        (asked,) = proxy.writes
        assert partiql.parse(asked.body["Statements"][0]) == (target.name, {"no PK": {"NULL": True}})
        assert target.items() == {}

    @pytest.mark.parametrize(
        ("answer", "says", "remedy"),
        [
            (error("AccessDeniedException"), "answers AccessDeniedException: new items go one by one", "PartiQLInsert"),
            (refused_by_statement("AccessDenied"), "answers AccessDenied: new items go one by one", "PartiQLInsert"),
            (error("UnknownOperationException"), "answers UnknownOperationException", "knows no PartiQL"),
            (reply(501, b"<html>"), "answers 501", "knows no PartiQL"),
            (error("ValidationException"), "not known: AWS answered ValidationException", "the log of a run"),
            (refused_by_statement("ThrottlingError"), "not known: DynamoDB answered ThrottlingError", "look again"),
            (reply(200, b'{"Responses": [{}]}'), "not known: DynamoDB answered success", "look again"),
        ],
        ids=["denied", "denied by statement", "unknown", "not implemented", "refused", "throttled", "taken"],
    )
    def test_where_it_may_not_or_nothing_is_known_a_run_goes_on_all_the_same(
        self, target: Target, proxy: FaultProxy, answer: Action, says: str, remedy: str
    ) -> None:
        proxy.inject(answer, "BatchExecuteStatement", times=100)

        found = hazards.check_batch_inserts(access(proxy.url), target.name, IMAGE)

        assert found[0] is Health.WARN
        assert says in found[1]
        assert remedy in found[2]

    def test_a_table_with_another_key_is_not_asked(self, new_table: NewTable, proxy: FaultProxy) -> None:
        with pytest.raises(TargetRefused, match="has the key"):
            hazards.check_batch_inserts(access(proxy.url), new_table({"no PK": "S"}), IMAGE)

        assert proxy.writes == []

    @pytest.mark.parametrize("write_mode", WriteMode)
    def test_only_conditional_mode_is_told(self, write_mode: WriteMode, settings: MakeSettings) -> None:
        looks = hazards.hazard_examinations(settings(IMGMIG_WRITE_MODE=write_mode.value), IMAGE)

        assert ("inserts in batches" in [look.thing for look in looks]) is (write_mode is WriteMode.CONDITIONAL)
