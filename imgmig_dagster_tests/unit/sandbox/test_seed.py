import csv
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest

from imgmig_dagster.sandbox.seed import ImageRow, SeedError, csv_rows, synthetic_rows

VALID = {
    "id": "00033d6e-354e-557a-a8f8-23a9251ab582",
    "user_id": "acd5c923-7ac3-540c-928e-db35c940e1ee",
    "created_at": "2023-02-12T20:44:24+00:00",
    "updated_at": "2023-02-12T20:44:24.5+00:00",
    "original_filename": "a.png",
    "s3_key": "images/a.png",
    "s3_bucket": "bucket",
    "thumbnail_s3_key": "",
    "mime_type": "image/png",
    "size_bytes": "9119",
    "width": "",
    "height": "128",
}


def write_csv(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def demo_rows() -> list[ImageRow]:
    return list(synthetic_rows(15_432))


def test_the_same_arguments_give_the_same_rows() -> None:
    assert list(synthetic_rows(500, seed=7)) == list(synthetic_rows(500, seed=7))
    assert list(synthetic_rows(500, seed=7)) != list(synthetic_rows(500, seed=8))


def test_a_given_seed_gives_the_rows_it_always_gave() -> None:
    first = next(synthetic_rows(100, seed=0))
    assert first.id == UUID("23a7711a-8133-4876-b7eb-dcd9e87a1613")


def test_ids_are_unique(demo_rows: list[ImageRow]) -> None:
    assert len({row.id for row in demo_rows}) == 15_432


def test_rows_fill_exactly_the_24_months_up_to_the_end_of_2024(demo_rows: list[ImageRow]) -> None:
    months = Counter((row.created_at.year, row.created_at.month) for row in demo_rows)
    assert sorted(months) == [(year, month) for year in (2023, 2024) for month in range(1, 13)]
    assert min(months.values()) > 400


def test_rows_stand_on_both_sides_of_the_edge_of_a_month(demo_rows: list[ImageRow]) -> None:
    times = {row.created_at for row in demo_rows}
    edge = datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert {edge, edge - timedelta(microseconds=1)} <= times
    assert sum(time.microsecond % 1000 != 0 for time in times) > 10_000


def test_a_tie_crosses_the_edge_of_a_page_of_1000_rows(demo_rows: list[ImageRow]) -> None:
    (instant, size), (_, next_size) = Counter(row.created_at for row in demo_rows).most_common(2)
    assert size == 1_200 > next_size
    month = sorted(row.created_at for row in demo_rows if row.created_at.month == 3 and row.created_at.year == 2024)
    assert month[999] == month[1000] == instant


def test_hard_values_occur_even_among_few_rows() -> None:
    rows = list(synthetic_rows(300))
    names = {row.original_filename for row in rows}
    assert {"", "caf\u00e9.png", "cafe\u0301.png", "NULL"} <= names
    assert any("\u202e" in name for name in names)
    assert max(len(name) for name in names) > 1_000
    assert {0, 2**53, 2**53 + 1, 2**63 - 1} <= {row.size_bytes for row in rows}
    assert len({row.mime_type for row in rows}) > 5
    for column in ("thumbnail_s3_key", "width", "height"):
        nulls = sum(getattr(row, column) is None for row in rows)
        assert 0 < nulls < len(rows)


def test_no_rows_are_no_rows() -> None:
    assert list(synthetic_rows(0)) == []


def test_csv_columns_may_come_in_any_order_and_empty_is_null_only_where_null_is_allowed(tmp_path: Path) -> None:
    fields = {**VALID, "original_filename": ""}
    path = write_csv(tmp_path / "rows.csv", dict(reversed(fields.items())))
    (row,) = csv_rows(path)
    assert (row.thumbnail_s3_key, row.width, row.height, row.original_filename) == (None, None, 128, "")
    assert row.updated_at == datetime(2023, 2, 12, 20, 44, 24, 500_000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text", ["2023-02-12 20:44:24.00012+00", "2023-02-12T20:44:24.000120Z", "2023-02-13 02:14:24.00012+05:30"]
)
def test_times_are_read_as_iso_8601_and_as_postgresql_prints_them(tmp_path: Path, text: str) -> None:
    (row,) = csv_rows(write_csv(tmp_path / "rows.csv", {**VALID, "created_at": text}))
    assert row.created_at == datetime(2023, 2, 12, 20, 44, 24, 120, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("id", "no-uuid", "is not a UUID"),
        ("created_at", "2023-02-12T20:44:24", "UTC offset"),
        ("created_at", "2023-02-30T20:44:24Z", "day"),
        ("size_bytes", "", "is not an integer"),
        ("size_bytes", str(2**63), "64 bits"),
        ("width", "1e3", "is not an integer"),
        ("height", str(2**31), "32 bits"),
    ],
)
def test_a_wrong_value_is_named_by_line_and_column(tmp_path: Path, column: str, text: str, reason: str) -> None:
    path = write_csv(tmp_path / "rows.csv", VALID, {**VALID, column: text})
    with pytest.raises(SeedError, match=rf"rows\.csv, line 3, column {column}: .*{reason}"):
        list(csv_rows(path))


def test_a_wrong_header_is_named(tmp_path: Path) -> None:
    fields = {"colour" if name == "width" else name: text for name, text in VALID.items()}
    with pytest.raises(SeedError, match=r"line 1: .*missing width; unknown 'colour'"):
        list(csv_rows(write_csv(tmp_path / "rows.csv", fields)))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(",".join([*VALID, "id"]) + "\n")
    with pytest.raises(SeedError, match="one is there twice"):
        list(csv_rows(path))


def test_a_short_line_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", VALID)
    path.write_text(path.read_text() + "a,b\n")
    with pytest.raises(SeedError, match="line 3: 2 fields, but the header has 12"):
        list(csv_rows(path))


def test_files_that_cannot_be_read_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="cannot be read: No such file"):
        list(csv_rows(tmp_path / "none.csv"))
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id,caf\u00e9".encode("latin-1"))
    with pytest.raises(SeedError, match="not UTF-8"):
        list(csv_rows(latin))
    with pytest.raises(SeedError, match="line 1: the header"):
        list(csv_rows(Path("/dev/null")))
