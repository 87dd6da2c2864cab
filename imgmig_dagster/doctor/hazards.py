"""Examines what a bulk write to the table triggers or runs into: streams, replicas, expiry, indexes, PartiQL."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson

from imgmig_dagster.aws.access import AwsAccess, ClientError
from imgmig_dagster.doctor.diagnosis import Examination, Health, ask_aws
from imgmig_dagster.errors import AwsUnusable, TargetError, TargetRefused
from imgmig_dagster.mapping.fields import FieldType, Unit
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.target.index_keys import index_keys, type_of, unfit_keys
from imgmig_dagster.target.index_keys import indexes as table_indexes
from imgmig_dagster.target.inserts import Insert, why_alone
from imgmig_dagster.target.target_table import describe

Examined = tuple[Health, str, str]
_SHOWN: Final = 5
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_UNFIT: Final = "an empty text, or one of more than 1,024 bytes (2,048 in a partition key),"
# AWS names its errors; a bare number is moto's.
_NO_SUCH_OPERATION: Final = frozenset({"UnknownOperationException", "500", "501"})
# BatchExecuteStatement answers these for the whole request, or for one statement.
_ONE_BY_ONE: Final = _NO_SUCH_OPERATION | {"AccessDeniedException", "AccessDenied"}


def hazard_examinations(settings: Settings, mapping: TableMapping) -> list[Examination]:
    """What else to know about the target table before many items are written to it."""
    access, table = settings.aws(), settings.target.table
    careful = settings.application_writes or settings.write_mode is WriteMode.CONDITIONAL
    looks: dict[str, Callable[[], Examined]] = {
        "status": partial(check_status, access, table),
        "stream": partial(check_stream, access, table),
        "Kinesis stream": partial(check_kinesis, access, table),
        "replicas": partial(check_replicas, access, table, careful),
        "time to live": partial(check_time_to_live, access, table, mapping),
        "indexes": partial(check_indexes, access, table, mapping),
    }
    if settings.write_mode is WriteMode.CONDITIONAL:
        looks["inserts in batches"] = partial(check_batch_inserts, access, table, mapping)
    return [Examination("DynamoDB", thing, look) for thing, look in looks.items()]


def described(access: AwsAccess, table: str) -> dict[str, Any]:
    """The table as DescribeTable gives it."""
    client = access.client("dynamodb")
    found: dict[str, Any] = ask_aws("DescribeTable", lambda: client.describe_table(TableName=table))["Table"]
    return found


def check_status(access: AwsAccess, table: str) -> Examined:
    """Whether the table and its indexes are ACTIVE: while one changes, writes are slow or refused."""
    found = described(access, table)
    states = {"the table": found.get("TableStatus", "ACTIVE")}
    states |= {f"index {each['IndexName']}": each.get("IndexStatus", "ACTIVE") for each in table_indexes(found)}
    changing = [f"{name} is {state}" for name, state in states.items() if state != "ACTIVE"]
    if not changing:
        return Health.OK, "ACTIVE", ""
    health = Health.WARN if states["the table"] in ("ACTIVE", "UPDATING") else Health.FAIL
    remedy = f"wait: aws dynamodb wait table-exists --table-name {table}, then look again"
    if states["the table"] not in ("ACTIVE", "UPDATING", "CREATING"):
        remedy = f"waiting does not help: aws dynamodb describe-table --table-name {table} says more"
    return health, ", ".join(changing), remedy


def check_stream(access: AwsAccess, table: str) -> Examined:
    """Whether each write is an event of a stream, and which Lambda functions read it."""
    found = described(access, table)
    if not found.get("StreamSpecification", {}).get("StreamEnabled"):
        return Health.OK, "none", ""
    arn, remedy = (
        found.get("LatestStreamArn", ""),
        "ask the owners of its consumers whether each migrated item may reach them",
    )
    functions = access.client("lambda")
    try:
        reply = ask_aws("ListEventSourceMappings", lambda: functions.list_event_source_mappings(EventSourceArn=arn))
    except (TargetError, AwsUnusable) as error:  # no fault of the table, and no run asks Lambda
        return Health.WARN, f"on; who listens is not known: {error}", f"{remedy}: aws lambda list-event-source-mappings"
    names = [
        each["FunctionArn"].rpartition(":function:")[2] + (" (disabled)" if each.get("State") == "Disabled" else "")
        for each in reply["EventSourceMappings"]
    ]
    if not names:
        return Health.WARN, "on; no Lambda function listens, others may", remedy
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = f"on: every written item is an event to {', '.join(names[:_SHOWN])}{more}"
    return (
        Health.WARN,
        shown,
        "have them skip the migrated items; a disabled one gets them if it is enabled within a day",
    )


def check_kinesis(access: AwsAccess, table: str) -> Examined:
    """Whether each write is a record of a Kinesis stream."""
    client = access.client("dynamodb")
    reply = _ask(
        "DescribeKinesisStreamingDestination",
        lambda: client.describe_kinesis_streaming_destination(TableName=table),
    )
    if isinstance(reply, TargetRefused):
        return _unknown(reply)
    active = [
        each["StreamArn"].rpartition("/")[2]
        for each in reply.get("KinesisDataStreamDestinations", [])
        if each.get("DestinationStatus") in ("ACTIVE", "ENABLING", "UPDATING")
    ]
    if not active:
        return Health.OK, "none", ""
    shown = f"every written item is a record of {', '.join(active)}"
    return Health.WARN, shown, "ask the owners of its consumers, and check its capacity"


def check_replicas(access: AwsAccess, table: str, careful: bool) -> Examined:
    """Whether other regions write the table too: conditions and strong reads hold within one region.

    `careful` is whether others write to the table, or are expected to.
    """
    found = described(access, table)
    regions = [each["RegionName"] for each in found.get("Replicas", [])]
    # The first version of global tables does not name them here.
    if not regions and found.get("GlobalTableVersion") != "2017.11.29":
        return Health.OK, "none", ""
    shown = f"replicas in {', '.join(regions) or 'other regions (aws dynamodb describe-global-table names them)'}"
    if found.get("MultiRegionConsistency") == "STRONG":
        return Health.OK, f"{shown}, strongly consistent", ""
    if careful:
        return (
            Health.FAIL,
            f"{shown}: a write there and one here are both accepted, and the later one wins",
            "conditions and strong reads hold in one region: add the replicas after the migration, or have every "
            "writer write here until the cutover",
        )
    return Health.WARN, shown, "each write is paid for in each region; nobody may write there during the migration"


def check_time_to_live(access: AwsAccess, table: str, mapping: TableMapping) -> Examined:
    """Whether DynamoDB deletes items by an attribute that we write."""
    client = access.client("dynamodb")
    reply = _ask("DescribeTimeToLive", lambda: client.describe_time_to_live(TableName=table))
    if isinstance(reply, TargetRefused):
        return _unknown(reply)
    found = reply.get("TimeToLiveDescription", {})
    if found.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        return Health.OK, "off", ""
    name = found.get("AttributeName", "")
    if name not in mapping.declared_attributes:
        return Health.OK, f"on {name}, which is not written", ""
    fault = _no_time_to_live(name, mapping)
    return (
        Health.WARN,
        f"on {name}, which is written: {fault or 'DynamoDB deletes items by it, and they are then missing'}",
        f"aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification "
        f"Enabled=false,AttributeName={name}",
    )


def _no_time_to_live(name: str, mapping: TableMapping) -> str:
    """Why no item expires by an attribute that we write; empty where items expire."""
    for field in mapping.fields:
        if field.attribute == name and (kind := type_of(field)) != "N":
            return f"it is written as {kind}, and DynamoDB reads numbers: no item expires"
        if field.attribute == name and field.type is FieldType.EPOCH and field.unit is not Unit.SECONDS:
            return f"it counts {field.unit.name.lower()}, and DynamoDB reads seconds: no item expires"
    return ""


def check_indexes(access: AwsAccess, table: str, mapping: TableMapping) -> Examined:
    """Whether each item fits every index: an index key has the declared type, and is never NULL, empty or too long."""
    table_found = described(access, table)
    found = unfit_keys(index_keys(table_found), mapping)
    if found.wrong:
        remedy = "every item would be rejected: delete the index and recreate it with that type, or change the mapping"
        return Health.FAIL, "; ".join(found.wrong), remedy
    if found.null:
        remedy = f"an item that is NULL there is rejected: declare `null: left_out` for it; so is {_UNFIT[:-1]}"
        return Health.WARN, "; ".join([*found.null, *found.unfit]), remedy
    if found.unfit:
        return Health.WARN, "; ".join(found.unfit), f"{_UNFIT} there is rejected: look for such rows"
    count = len(table_indexes(table_found))
    return Health.OK, f"{count}; a write is paid for in each that holds the item" if count else "none", ""


def check_batch_inserts(access: AwsAccess, table: str, mapping: TableMapping) -> Examined:
    """Whether conditional mode may write new items in batches. Tries an INSERT that no table can store.

    It has no partition key, so DynamoDB answers ValidationError where the role may insert.
    """
    describe(access, table, mapping)  # the key is the mapping's
    key, client = mapping.key_attributes[0], access.client("dynamodb")
    statement = orjson.loads(Insert(table, {f"no {key}": {"NULL": True}}).content)

    def answer() -> str:
        try:
            (answered,) = client.batch_execute_statement(Statements=[statement])["Responses"]
        except ClientError as error:
            if (code := error.response["Error"]["Code"]) in _ONE_BY_ONE:
                return str(code)
            raise
        return str(answered.get("Error", {}).get("Code", f"success to an item without {key}"))

    try:
        code = ask_aws("BatchExecuteStatement", answer)
    except TargetRefused as error:
        return Health.WARN, f"not known: {error}", "the log of a run says whether its new items go one by one, and why"
    if code == "ValidationError":
        return Health.OK, "an INSERT is allowed: new items go 25 to a request", ""
    if code in _ONE_BY_ONE:
        shown = f"DynamoDB answers {code}: new items go one by one, which costs several times as much"
        return Health.WARN, shown, why_alone(code)
    return Health.WARN, f"not known: DynamoDB answered {code}", "look again: imgmig doctor"


def _ask(operation: str, call: Callable[[], Any]) -> Any:
    """The reply, or the refusal: a missing permission to look is no fault of the table.

    For an emulator that does not know the operation the reply is empty.
    """

    def known() -> Any:
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_SUCH_OPERATION:
                return {}
            raise

    try:
        return ask_aws(operation, known)
    except TargetRefused as error:
        return error


def _unknown(error: TargetRefused) -> Examined:
    return Health.WARN, f"not known: {error}", "allow it: deploy/iam/verifier.json names every operation"
