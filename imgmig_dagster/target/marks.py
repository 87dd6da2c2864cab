"""Which state writes to the table: its mark is a tag of the table, and changes no item.

Two states on one table do not know each other's writes, so the evidence of both would be wrong. `stage.write_guard`
calls `claim` when a table is opened for writing; reports and the doctor `read` the marks. Each state has its own tag,
named by its id: a shared tag would be replaced by the last writer.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TagResource.html: tags show after a few seconds. So a
run that leaves a mark waits, reads again, and begins only if there is no other mark.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from imgmig_dagster.aws.access import AwsAccess, BotoCoreError, ClientError
from imgmig_dagster.errors import TargetRefused, TargetUnavailable, WritesRefused
from imgmig_dagster.target.faults import TargetFault, classify

_KEY: Final = "imgmig-state-"
_WITHDRAWN: Final = "withdrawn"
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Tagging.html
_NOT_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9 +\-=._:/]")
_LONGEST_VALUE: Final = 256
# DynamoDB Local and dynalite know no tags.
_NO_TAGS: Final = "UnknownOperationException"
SHOWS_AFTER_S: Final = 5.0
_LOOKS: Final = 4


@dataclass(frozen=True)
class MarkedTable:
    """A table and its marks: the place of each state by its id. None if its server has no tags."""

    arn: str
    places: Mapping[str, str] | None

    def others(self, own: str | None) -> Mapping[str, str]:
        """The marks of other states than this one."""
        return {state: place for state, place in (self.places or {}).items() if state != own}

    def remedy(self, own: str | None) -> str:
        """What to type to take the table from the other states."""
        keys = " ".join(f"{_KEY}{state}" for state in self.others(own))
        return f"aws dynamodb untag-resource --resource-arn {self.arn} --tag-keys {keys}"

    def names_of_others(self, own: str | None) -> str:
        """Which other states write to the table, in words."""
        return " and ".join(f"{place} (id {state})" for state, place in self.others(own).items())


def read(access: AwsAccess, arn: str) -> MarkedTable:
    """The marks of a table.

    Raises:
        TargetRefused: the role may not read them.
        TargetUnavailable: DynamoDB cannot be reached, or pushes back.
    """
    client = access.client("dynamodb")

    def tags() -> list[dict[str, str]]:
        pages = client.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
        return [tag for page in pages for tag in page["Tags"]]

    found = _ask("ListTagsOfResource", arn, tags)
    if found is None:
        return MarkedTable(arn, None)
    # If an emulator keeps a tag twice, the last one counts.
    marks = {tag["Key"].removeprefix(_KEY): tag["Value"] for tag in found if tag["Key"].startswith(_KEY)}
    return MarkedTable(arn, {state: place for state, place in sorted(marks.items()) if place != _WITHDRAWN})


def claim(
    access: AwsAccess,
    arn: str,
    state: str,
    place: str,
    has_begun: bool,
    shows_after_s: float = SHOWS_AFTER_S,
    sleep: Callable[[float], None] = time.sleep,
) -> MarkedTable:
    """Leave the mark of a state on the table, or find it there. Returns when no other state can begin.

    Of two states that begin at once, the one with the lower id stays; the other withdraws its mark. A mark that stays
    belongs to a state that has begun. A state that `has_begun` and finds its mark goes on: no other can begin.

    Raises:
        WritesRefused: another state writes to the table.
        TargetRefused: the role may not read tags, or not write them.
        TargetUnavailable: DynamoDB cannot be reached, pushes back, or does not show the mark.
    """
    marked, value = read(access, arn), _NOT_IN_TAGS.sub("_", place)[:_LONGEST_VALUE]
    if marked.places is None:
        return marked
    if has_begun and state in marked.places:
        if marked.places[state] != value:
            _tag(access, arn, state, value)  # the state was moved
        return marked
    if marked.others(state) and state not in marked.places:
        raise _refused(marked, state, place)
    _tag(access, arn, state, value)
    for _look in range(_LOOKS):
        sleep(shows_after_s)
        marked = read(access, arn)
        others = marked.others(state)
        if state in (marked.places or {}) and not others:
            return marked
        if any(other < state for other in others):
            break
    _tag(access, arn, state, _WITHDRAWN)
    if marked.others(state):
        raise _refused(marked, state, place)
    raise TargetUnavailable(f"the tag {_KEY}{state} does not show on {arn}: give the same command again")


@dataclass(frozen=True)
class Ownership:
    """Whether one state alone writes to the table, as its marks say.

    `fault` says what contradicts that, `remedy` what to do about it, `assumption` what cannot be seen.
    """

    fault: str | None = None
    remedy: str = ""
    assumption: str | None = None


def ownership(access: AwsAccess, arn: str, own: str | None) -> Ownership:
    """Whether the state with the id `own` writes to the table, and no other; None: a state that never wrote.

    Raises:
        TargetUnavailable: DynamoDB cannot be reached, or pushes back.
    """
    try:
        marked = read(access, arn)
    except TargetRefused as error:
        return Ownership(f"Whether another state writes to the table is not known, because {error}", "imgmig doctor")
    if marked.others(own):
        what = f"Another state writes to the table: {marked.names_of_others(own)}. Once none of its runs is running"
        return Ownership(what, marked.remedy(own))
    if marked.places is None:
        return Ownership(assumption="no other state writes to the table: its server keeps no tags that would show one")
    if own not in marked.places:
        return Ownership(assumption="no other state writes to the table: it bears no mark, not this state's either")
    return Ownership()


def _tag(access: AwsAccess, arn: str, state: str, value: str) -> None:
    tag = {"Key": f"{_KEY}{state}", "Value": value}
    client = access.client("dynamodb")
    _ask("TagResource", arn, lambda: client.tag_resource(ResourceArn=arn, Tags=[tag]))


def _refused(marked: MarkedTable, state: str, place: str) -> WritesRefused:
    return WritesRefused(
        f"another state writes to the table {marked.arn}: {marked.names_of_others(state)}. Two states do not know of "
        f"each other's writes. Use that (url in [state]); or, once none of its runs is running, hand the table over "
        f"to {place}: {marked.remedy(state)}"
    )


def _ask(operation: str, arn: str, call: Callable[[], Any]) -> Any:
    """The reply; None if the server does not know the operation."""
    try:
        return call()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == _NO_TAGS:
            return None
        # ResourceInUseException: the table, or its tags, are just being changed.
        if code == "ResourceInUseException" or classify(code, status) in (
            TargetFault.BACK_PRESSURE,
            TargetFault.TRANSIENT,
        ):
            raise TargetUnavailable(f"DynamoDB answered {code} to {operation} of {arn}: try again later") from None
        raise TargetRefused(
            f"DynamoDB answered {code} to {operation} of {arn}, by which imgmig knows which state writes to the table: "
            f"allow dynamodb:{operation} there, as deploy/iam/ does"
        ) from None
    except BotoCoreError as error:
        raise TargetUnavailable(f"DynamoDB cannot be reached: {type(error).__name__}: {error}") from None
