"""Writes new items in batches: INSERT statements of PartiQL, their answers, and whether a run may send them.

The operation could also read, update and delete. Here it cannot: a request holds only `Insert`s. `writer` sends them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final

import orjson

from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.faults import STATEMENT_FAULTS, TargetFault
from imgmig_dagster.target.sender import RetriesUsedUpError

MAX_BATCH_INSERT: Final = 25
MAX_STATEMENT: Final = 8_192
"""The most characters of one statement, without its parameters."""
MAX_PARAMETERS_BYTES: Final = 2**16
"""A request may have 16 MB, all statements together. An item larger than this gains nothing in a batch."""


class Insert:
    """`INSERT INTO table VALUE item` in a batch, if it `fits` there.

    Values are parameters: they hold attributes of every type, and PartiQL does not parse them.
    """

    __slots__ = ("content", "fits")

    def __init__(self, table: str, item: Item) -> None:
        head, is_short = _insert_into(table, tuple(item))
        parameters = orjson.dumps(list(item.values()))
        self.content = b"%b%b}" % (head, parameters)
        self.fits = is_short and len(parameters) <= MAX_PARAMETERS_BYTES


@lru_cache(maxsize=1_024)
def _insert_into(table: str, attributes: tuple[str, ...]) -> tuple[bytes, bool]:
    """The JSON of a statement up to its parameters, and whether its text is short enough."""
    members = ",".join(f"{_quoted(name, chr(39))}:?" for name in attributes)
    text = f"INSERT INTO {_quoted(table, chr(34))} VALUE {{{members}}}"
    head = {"Statement": text, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    return orjson.dumps(head)[:-1] + b',"Parameters":', len(text) <= MAX_STATEMENT


def _quoted(name: str, mark: str) -> str:
    return mark + name.replace(mark, 2 * mark) + mark


@dataclass(frozen=True)
class BatchInsert:
    """Write items of distinct keys, each if no item has its key; at most `MAX_BATCH_INSERT`."""

    operation: ClassVar[str] = "BatchExecuteStatement"
    is_read: ClassVar[bool] = False
    table: str
    inserts: Sequence[Insert]

    def body(self) -> bytes:
        """The request as JSON."""
        statements = b",".join([insert.content for insert in self.inserts])
        return b'{"Statements":[%b],"ReturnConsumedCapacity":"TOTAL"}' % statements

    def answers(self, reply: dict[str, Any]) -> list[dict[str, Any]] | None:
        """The answer to each statement, in their order; None if the reply does not answer each of them."""
        answers = reply["Responses"]
        return answers if isinstance(answers, list) and len(answers) == len(self.inserts) else None


@dataclass
class Answered:
    """What is known of a batch's items, by their places in it. PutItem finds out about all others.

    `existing` maps to the item that is already there. It is None if DynamoDB did not return the item: the documentation
    says it does, but sometimes it did not. `unpaid` are existing items whose cost no reply counted.
    """

    written: set[int] = field(default_factory=set)
    existing: dict[int, Item | None] = field(default_factory=dict)
    unpaid: list[int] = field(default_factory=list)

    def take(
        self, places: Iterable[int], answers: Sequence[dict[str, Any]], is_counted: bool
    ) -> tuple[list[int], dict[TargetFault, str]]:
        """Note what the answers say. Returns the places to send again, and one code for each kind of fault.

        `is_counted`: the reply gave the units, including those of the refused statements.
        """
        again: list[int] = []
        codes: dict[TargetFault, str] = {}
        for place, answer in zip(places, answers, strict=True):
            if (error := answer.get("Error")) is None:
                self.written.add(place)
                continue
            code = error.get("Code", "UnknownError")
            fault = STATEMENT_FAULTS.get(code, TargetFault.REJECT)
            codes[fault] = code
            if fault is TargetFault.CONDITION:
                self.existing[place] = error.get("Item")
                if not is_counted:
                    self.unpaid.append(place)
            elif fault in (TargetFault.BACK_PRESSURE, TargetFault.TRANSIENT):
                again.append(place)
        return again, codes


_ALLOW: Final = "allow dynamodb:PartiQLInsert on the table: deploy/iam/migrator.json"
_REMEDIES: Final = {
    **dict.fromkeys(("AccessDeniedException", "AccessDenied"), _ALLOW),
    **dict.fromkeys(("UnknownOperationException", "500", "501"), "this server knows no PartiQL; AWS does"),
}


def why_alone(code: str) -> str:
    """What to do if new items go one by one because the service answers `code` to statements."""
    return _REMEDIES.get(code, "the next run tries batches again; imgmig doctor says whether the role may insert so")


class BatchInserts:
    """Whether new items go in batches. A run finds out by trying; all its partitions share one of these.

    `refusal` says why they no longer do, and `tell` gets its line.
    """

    def __init__(self) -> None:
        self.refusal: TargetRefused | None = None
        self.tell: Callable[[str], object] = lambda _line: None
        self._known = False

    def answered(self) -> None:
        """The service knows the operation."""
        self._known = True

    def failed(self, error: DynamoDBError | RetriesUsedUpError | TargetRefused) -> None:
        """A request was not answered. Send no more batches if the operation is at fault, and not its content."""
        if isinstance(error, TargetRefused) and error.code in (None, "ResourceNotFoundException"):
            raise error  # PutItem would find no table either
        never_answered = isinstance(error, RetriesUsedUpError) and not self._known
        if isinstance(error, TargetRefused) or never_answered:
            self.forbid(str(error.code))

    def forbid(self, code: str) -> None:
        """From now on every item goes by itself."""
        if self.refusal is None:
            self.refusal = TargetRefused(
                f"DynamoDB answers {code} to BatchExecuteStatement: new items go one by one, which costs several times "
                f"as much; {why_alone(code)}",
                code,
            )
            self.tell(str(self.refusal))
