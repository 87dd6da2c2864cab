import pytest

from imgmig_dagster.target.index_keys import IndexKey
from imgmig_dagster.verification.schema_changes import SchemaDrift, SeenSchema, drift_between
from imgmig_dagster_tests.images import IMAGE

COLUMNS = {"id": "uuid NOT NULL", "width": "integer"}
BY_USER = IndexKey("by-user", "userId", "S")


def seen(columns: dict[str, str] | None = None, indexed: bool = True, *keys: IndexKey) -> SeenSchema:
    return SeenSchema("2026-01-01T00:00:00Z", COLUMNS if columns is None else columns, indexed, keys)


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (seen({**COLUMNS, "Caption": "text"}), 'the source has a new column "Caption" (text)'),
        (seen({"id": "uuid NOT NULL"}), "the source's column width (integer) is gone"),
        (seen({**COLUMNS, "width": "bigint"}), "the source's column width was integer, and is bigint"),
        (seen({**COLUMNS, "id": "uuid"}), "the source's column id was uuid NOT NULL, and is uuid"),
        (seen(None, True, IndexKey("i", "else", "S")), "the target's index i is new, with else (S)"),
        (
            seen(None, True, IndexKey("i", "createdAt", "S"), IndexKey("i", "sizeBytes", "N")),
            "the target's index i is new, with createdAt (S) and sizeBytes (N)",
        ),
        (
            seen(None, True, BY_USER),
            "the target's index by-user is new, with userId (S): from now on DynamoDB rejects items of rows with an "
            "empty text there",
        ),
        (
            seen(None, True, IndexKey("i", "width", "N")),
            "the target's index i is new, with width (N): from now on DynamoDB rejects items of rows that are NULL "
            "there, unless it is declared as `null: left_out`",
        ),
        (
            seen(None, True, IndexKey("i", "width", "S")),
            "the target's index i is new, with width (S): from now on DynamoDB rejects every item: i has the key width "
            "(column width) of type S, and N is written",
        ),
    ],
)
def test_each_change_is_named_with_what_follows(now: SeenSchema, change: str) -> None:
    assert drift_between(seen(), now, IMAGE) == SchemaDrift("2026-01-01T00:00:00Z", [change])


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (seen(), "the target's index by-user is gone"),
        (
            seen(None, True, IndexKey("by-user", "s3Key", "S")),
            "the target's index by-user has another key, s3Key (S): from now on DynamoDB rejects items of rows with an "
            "empty text there",
        ),
    ],
)
def test_an_index_that_goes_or_changes(now: SeenSchema, change: str) -> None:
    assert drift_between(seen(None, True, BY_USER), now, IMAGE).changes == [change]


def test_what_stays_is_no_change() -> None:
    assert drift_between(seen(None, True, BY_USER), seen(None, True, BY_USER), IMAGE).lines == []


def test_a_lost_unique_index_is_a_fault_and_a_new_one_none() -> None:
    lost = drift_between(seen(), seen(None, False), IMAGE)

    assert lost.faults == [
        "no index keeps id unique any longer, and two rows may become one item: create the unique index again"
    ]
    assert lost.lines == [f"changed since the first migration (2026-01-01T00:00:00Z): {lost.faults[0]}"]
    assert drift_between(seen(None, False), seen(), IMAGE).faults == []
