"""Migrated, verified and counted: tables whose ids, text and times are not as the application's."""

from typing import Any

import psycopg
import pytest

from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target, image, item_of, row_id
from imgmig_dagster_tests.conftest import NewSource


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_padded_ids_are_accounted_for_and_items_under_the_trimmed_key_are_left_alone(
    new_source: NewSource, target: Target, state: LocalStateStore, write_mode: WriteMode
) -> None:
    source = new_source(id_type="char(30)")
    source.insert(image(number, id=f"k{number}") for number in range(20))
    theirs = item_of(1, PK={"S": "IMAGE#k1"})
    target.put(theirs)
    migration = Migration(source, target, state)

    for _again in range(2):
        result = migration.migrate(write_mode=write_mode, page_size=7)
        assert result.every_row_is_accounted_for
        assert (result.rows_in_window, result.late, result.left_window) == (20, 0, 0)
    assert migration.verify().passed

    items = target.items()
    assert items.pop("IMAGE#k1") == theirs
    assert sorted(items) == sorted(f"IMAGE#k{number}".ljust(36) for number in range(20))
    census = migration.census()
    assert (census.missing, census.samples) == (0, {"orphans": ["k1"]})


@pytest.fixture
def ascii_migration(
    new_source: NewSource, ascii_owner: psycopg.Connection[Any], target: Target, state: LocalStateStore
) -> Migration:
    source = new_source(id_type="text", owner=ascii_owner)
    source.insert(image(number, id=f"img-{number:03}") for number in range(30))
    return Migration(source, target, state)


def spoil(source: Source, number: int, column: str, content: str) -> None:
    source.execute(
        f"UPDATE {{t}} SET {column} = convert_from(%s::bytea, 'SQL_ASCII') WHERE size_bytes = %s",  # noqa: S608
        content,
        1000 + number,
    )


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_a_bad_byte_is_in_the_ledger_under_its_key_and_never_passes(
    ascii_migration: Migration, write_mode: WriteMode
) -> None:
    spoil(ascii_migration.source, 3, "original_filename", r"caf\351.jpg")
    spoil(ascii_migration.source, 12, "id", r"img-\377")

    result = ascii_migration.migrate(write_mode=write_mode, page_size=5)

    assert result.every_row_is_accounted_for
    assert (result.migrated, result.failed) == (28, 2)
    found = {key: (each.field, each.code, each.permanent) for key, each in ascii_migration.ledger.items()}
    assert found == {
        "img-003": ("original_filename", "not_utf8", True),
        str(b"img-\xff"): ("id", "not_utf8", True),
    }
    verification = ascii_migration.verify(page_size=5)
    assert (verification.verdicts["match"], verification.verdicts["missing"]) == (28, 2)
    assert {mismatch.row_id for mismatch in verification.mismatches} == set(found)
    assert not verification.passed
    census = ascii_migration.census()
    assert (census.source_rows, census.rows_counted, census.missing) == (30, 30, 2)
    assert census.counts_agree

    # Mended in the source, they are taken up from the ledger.
    spoil(ascii_migration.source, 3, "original_filename", "caf.jpg")
    spoil(ascii_migration.source, 12, "id", "img-012")
    ascii_migration.retry_failures()
    ascii_migration.migrate(write_mode=WriteMode.CONDITIONAL)
    assert ascii_migration.verify().passed
    assert ascii_migration.census().passed


def test_a_bad_byte_that_comes_after_the_migration_is_a_mismatch(ascii_migration: Migration) -> None:
    ascii_migration.migrate()
    spoil(ascii_migration.source, 3, "original_filename", r"caf\351.jpg")

    verification = ascii_migration.verify()

    (mismatch,) = verification.mismatches
    assert (mismatch.row_id, mismatch.attribute, mismatch.expected) == (
        "img-003",
        "originalFilename",
        r"bytes:b'caf\xe9.jpg'",
    )


def test_a_number_that_is_not_whole_is_in_the_ledger_and_never_passes(migration: Migration) -> None:
    migration.source.execute("ALTER TABLE {t} ALTER size_bytes TYPE numeric")
    migration.source.insert([image(1, size_bytes="7"), image(2, size_bytes="7.5"), image(3, size_bytes="NaN")])

    result = migration.migrate()

    assert (result.migrated, result.failed) == (1, 2)
    assert {each.code for each in migration.ledger.values()} == {"not_a_whole_number"}
    assert set(migration.ledger) == {row_id(2), row_id(3)}
    assert migration.verify().verdicts["missing"] == 2
    assert migration.census().missing == 2
