"""The documents' commands for the sandbox and stage dev, in a sandbox of the test's own; see `test_documents.py`."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import COLUMNS
from imgmig_dagster_tests.orchestration.arrange import images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer
from imgmig_dagster_tests.orchestration.stories import OWN_TABLE, SANDBOX, Desk, follow


@pytest.fixture
def desk(commands: CommandServer, tmp_path: Path) -> Iterator[Desk]:
    """A folder with nothing but the documents' files of rows; its sandbox is deleted whatever happens."""
    root = tmp_path / ".imgmig"
    for name in ("my-images.csv", "images.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            # So many that the application seldom writes to the same one twice within a settle time.
            writer.writerows([*images_of(2, range(300)), *images_of(3, range(300, 600))])
    # The settings of a stage whose application writes meanwhile.
    environment = {"IMGMIG_DUAL_WRITE": "true"}
    yield Desk(commands, tmp_path, "dev", LocalStateStore(root / "state" / "dev" / "images"), environment)
    Sandbox(root).delete()


def test_the_sandbox_and_stage_dev_in_it(desk: Desk) -> None:
    follow(desk, SANDBOX)
    assert [file.name for file in (desk.folder / ".imgmig").iterdir()] == ["lock"]


PHOTOS = """CREATE SCHEMA app;
CREATE TYPE app.visibility AS ENUM ('public', 'private');
CREATE TABLE app.photos (
    album bigint, no smallint, title text NOT NULL, "takenAt" timestamp, created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL, visibility app.visibility, exif jsonb, tags text[], checksum bytea,
    latitude double precision, price numeric(12, 4), is_cover boolean, printed_on date, PRIMARY KEY (album, no)
);
CREATE INDEX ON app.photos (created_at, album, no);
INSERT INTO app.photos
SELECT n / 10, n % 10, 'photo ' || n || ' ü', '2024-01-31 12:00:00'::timestamp + n * interval '1 hour',
       '2024-02-01Z'::timestamptz + n * interval '9 hours', '2024-06-01Z',
       (ARRAY['public', 'private', NULL])[n % 3 + 1]::app.visibility,
       jsonb_build_object('iso', n * 100, 'lens', NULL, 'f', 1.80), ARRAY['a', 'b' || n], decode(md5(n::text), 'hex'),
       n / 7.0, n * 1.05, n % 2 = 0, '2024-01-31'::date + n
FROM generate_series(1, 200) n;
"""


@pytest.fixture
def own_table(commands: CommandServer, tmp_path: Path) -> Iterator[Desk]:
    """A folder with nothing but a file of SQL; its sandbox is deleted whatever happens."""
    root = tmp_path / ".imgmig"
    (tmp_path / "photos.sql").write_text(PHOTOS, encoding="utf-8")
    yield Desk(commands, tmp_path, "dev", LocalStateStore(root / "state" / "dev" / "photos"), {})
    Sandbox(root).delete()


def test_a_table_of_ones_own(own_table: Desk) -> None:
    follow(own_table, OWN_TABLE)
