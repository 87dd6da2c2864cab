"""BatchExecuteStatement as DynamoDB answers it to INSERT, which moto answers with 500: carried out by its PutItem.

Only what the migrator sends is understood: a statement whose values are all parameters. docs/aws.md says where each
rule is known from.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from imgmig_dagster.mapping.rows import Item

MAX_STATEMENTS: Final = 25
MAX_CHARACTERS: Final = 8_192

Refusal = tuple[str, str]
"""The name of an error and its message."""
Put = Callable[[dict[str, Any]], "tuple[int, dict[str, Any]]"]
"""Carries out a PutItem: the status and the reply."""

_INSERT: Final = re.compile(r"""\s*INSERT\s+INTO\s+"((?:[^"]|"")+)"\s+VALUE\s*\{(.*)\}\s*""", re.IGNORECASE | re.DOTALL)
_MEMBER: Final = re.compile(r"\s*'((?:[^']|'')*)'\s*:\s*\?\s*(?:,|$)")
_IS_INSERT: Final = re.compile(r"\s*INSERT\b", re.IGNORECASE)
_CODES: Final = {
    "ConditionalCheckFailedException": "DuplicateItem",
    "ValidationException": "ValidationError",
    "ResourceNotFoundException": "ResourceNotFound",
    "ItemCollectionSizeLimitExceededException": "ItemCollectionSizeLimitExceeded",
    "ProvisionedThroughputExceededException": "ProvisionedThroughputExceeded",
}


def inserts_only(request: Mapping[str, Any]) -> bool:
    """Whether a request holds INSERT statements and nothing else."""
    return all(_IS_INSERT.match(each.get("Statement", "")) for each in request.get("Statements", ()))


def parse(statement: Mapping[str, Any]) -> tuple[str, Item]:
    """The table and the item of one INSERT.

    Raises:
        ValueError: it is none, or has another number of parameters than of places for them.
    """
    found = _INSERT.fullmatch(statement["Statement"])
    if found is None:
        raise ValueError("Statement wasn't well formed, can't be processed")
    names, end = [], 0
    while member := _MEMBER.match(found[2], end):
        names.append(member[1].replace("''", "'"))
        end = member.end()
    if end != len(found[2]):
        raise ValueError("Statement wasn't well formed, can't be processed")
    values = statement.get("Parameters", [])
    if len(names) != len(values):
        raise ValueError("Number of parameters in request and statement don't match.")
    return found[1].replace('""', '"'), dict(zip(names, values, strict=True))


def refusal(request: Mapping[str, Any], key_of: Callable[[str], tuple[str, ...]]) -> Refusal | None:
    """Why the request as a whole is refused, before any of its statements runs. `key_of` names a table's key."""
    statements = request.get("Statements", [])
    if not 1 <= len(statements) <= MAX_STATEMENTS:
        return "ValidationException", "1 to 25 statements"
    if any(len(each["Statement"]) > MAX_CHARACTERS for each in statements):
        return "ValidationException", "Member must have length less than or equal to 8192"
    seen = set()
    for each in statements:
        try:
            table, item = parse(each)
        except ValueError:
            continue  # is answered by itself
        key = (table, *(repr(item.get(name)) for name in key_of(table)))
        if key in seen:
            return "ValidationException", "Provided list of item keys contains duplicates"
        seen.add(key)
    return None


def execute(request: Mapping[str, Any], key_of: Callable[[str], tuple[str, ...]], put: Put) -> dict[str, Any]:
    """The reply to a request that is not refused as a whole: each statement is answered by itself, in their order."""
    return {"Responses": [_answer(each, key_of, put) for each in request["Statements"]]}


def _answer(statement: Mapping[str, Any], key_of: Callable[[str], tuple[str, ...]], put: Put) -> dict[str, Any]:
    try:
        table, item = parse(statement)
    except ValueError as fault:
        return {"Error": {"Code": "ValidationError", "Message": str(fault)}}
    status, reply = put(
        {
            "TableName": table,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": key_of(table)[0]},
            "ReturnValuesOnConditionCheckFailure": statement.get("ReturnValuesOnConditionCheckFailure", "NONE"),
        }
    )
    if status == 200:
        return {"TableName": table}
    name = str(reply.get("__type", "")).rpartition("#")[2]
    code = _CODES.get(name, "InternalServerError")
    error: dict[str, Any] = {"Code": code, "Message": reply.get("message") or reply.get("Message", "")}
    if code != "DuplicateItem":
        return {"Error": error}
    if "Item" in reply:
        error["Item"] = reply["Item"]
    return {"Error": error, "TableName": table}
