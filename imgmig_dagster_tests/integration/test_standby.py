"""A stale standby is never read, by any route: it is refused, or the primary is waited for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from imgmig_dagster.doctor.diagnosis import Health, examine, exit_code
from imgmig_dagster.doctor.session_checks import session_examinations
from imgmig_dagster.errors import SessionRefused, SourceRefused, SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.sandbox.postgres import OWNER, READER, SOURCE_DATABASE, Postgres, url
from imgmig_dagster.sandbox.process import HOST, attach_or_start
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.counting import TableCounts, table_counts
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.source.servers import KnownServers
from imgmig_dagster.window import Window, span
from imgmig_dagster_tests.arrange import MARCH, Source, image, row_id
from imgmig_dagster_tests.images import IMAGE, PICTURE
from imgmig_dagster_tests.standby import Standby, standby_of
from imgmig_dagster_tests.switch import switch

ROWS = 30


@dataclass(frozen=True)
class Pair:
    """A primary, and a standby that has not seen its last changes, which any way of reading would tell of."""

    primary: Postgres
    port: int
    standby: Standby

    def url(self, *ports: int, attributes: str = "") -> str:
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        return f"postgresql://{READER}@{hosts}/{SOURCE_DATABASE}" + (
            f"?target_session_attrs={attributes}" if attributes else ""
        )

    def start(self) -> None:
        attach_or_start(self.primary, self.port)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    primary = Postgres(tmp_path_factory.mktemp("primary"))
    try:
        listener = attach_or_start(primary, None)
        primary.prepare(listener)
        with psycopg.connect(url(listener.port, SOURCE_DATABASE, OWNER), autocommit=True) as owner:
            source = Source(owner, "", "public", "images")
            source.insert(image(number) for number in range(ROWS - 1))
            with standby_of(listener.port, tmp_path_factory.mktemp("standby")) as standby:
                standby.pause()
                source.insert([image(ROWS - 1), image(ROWS, created_at="2019-01-01Z")])
                source.execute("UPDATE {t} SET original_filename = 'changed on the primary', s3_bucket = 'changed too'")
                yield Pair(primary, listener.port, standby)
    finally:
        primary.stop()
        primary.remove()


def reader_by(
    source_url: str, sleep: Callable[[float], None] = lambda _seconds: None, known: KnownServers | None = None
) -> SourceReader:
    retry = RetryPolicy(delays=(0.1, 0.4), random=lambda: 0.0)
    return SourceReader(
        ReadOnlyConnections(source_url, retry, sleep, known or KnownServers()), "public", "images", IMAGE
    )


def names_read(reader: SourceReader) -> set[object]:
    return {row[4] for page in reader.pages(MARCH, None, 10) for row in page}


def readings(windows: Sequence[Window], page: int) -> dict[str, Callable[[SourceReader], Any]]:
    """All ways of reading, of these windows and of the last one of them."""
    window = windows[-1]
    return {
        "table": lambda reader: reader.table,
        "mapping": lambda reader: reader.mapping,
        "column_types": lambda reader: reader.column_types(),
        "columns_not_migrated": lambda reader: reader.columns_not_migrated(),
        "pages": lambda reader: list(reader.pages(window, None, page)),
        "window_ids": lambda reader: ids_in_a_snapshot(reader, window),
        "snapshot": lambda reader: counted_in_a_snapshot(reader, windows),
        "count": lambda reader: reader.count(window),
        "count_all": lambda reader: reader.count_all(),
        "counts": lambda reader: reader.counts(windows),
        "recount": lambda reader: list(reader.recount(windows, page)),
        "repeated_ids": lambda reader: reader.repeated_ids(window),
        "rows": lambda reader: reader.rows([row_id(1)]),
        "inventory": lambda reader: reader.inventory(window),
        "extent": lambda reader: reader.extent(window),
        "rows_outside": lambda reader: reader.rows_outside(*span(windows)),
        "digests": lambda reader: reader.digests(windows),
        "rows_per_window": lambda reader: reader.rows_per_window(windows),
        "all_rows": lambda reader: list(reader.all_rows(page)),
        "sample": lambda reader: reader.sample(5, 1, PICTURE, windows),
        "rows_per_bucket": lambda reader: reader.rows_per_bucket(PICTURE, 5),
    }


READINGS = readings([MARCH], page=10)


def ids_in_a_snapshot(reader: SourceReader, window: Window) -> list[str]:
    with reader.window_ids(window) as ids_between:
        return ids_between(None, None)


def counted_in_a_snapshot(reader: SourceReader, windows: Sequence[Window]) -> TableCounts:
    with reader.snapshot() as snapshot:
        return table_counts(snapshot, windows)


def test_every_way_of_reading_is_among_them() -> None:
    public = {name for name in dir(SourceReader) if not name.startswith("_")}

    # `published` shows the statements that others read by, and `may_have` goes by the types of columns: neither asks.
    assert public - {"close", "published", "may_have"} == READINGS.keys()


@pytest.mark.parametrize("reading", READINGS)
def test_no_way_of_reading_takes_rows_from_a_standby(pair: Pair, reading: str) -> None:
    known = KnownServers()
    with (
        switch(pair.port) as server,
        reader_by(pair.url(server.port, attributes="any"), known=known) as reader,
        reader_by(pair.url(server.port, attributes="any"), known=known) as other,
    ):
        assert READINGS[reading](reader)
        server.to(pair.standby.port)
        reader.close()
        if reading in ("table", "mapping"):  # which a reader asks for once
            reader = other

        with pytest.raises(SourceUnavailable, match="a replica answers"):
            READINGS[reading](reader)


def test_a_standby_is_refused_at_once_with_what_to_set_and_told_of_once(pair: Pair) -> None:
    slept: list[float] = []
    with reader_by(pair.url(pair.standby.port), slept.append) as reader, pytest.raises(SessionRefused) as caught:
        reader.count(MARCH)

    assert "is a replica, whose rows are late: point url in [source] at the primary" in str(caught.value)
    assert (slept, caught.value.exit_code) == ([], 2)

    connection = ReadOnlyConnections(pair.url(pair.standby.port, attributes="any"), known=KnownServers())
    found = examine(session_examinations(connection, "public", "images", IMAGE.columns))
    assert [(each.thing, each.health) for each in found] == [("server", Health.FAIL)]
    assert "point url in [source] at the primary" in found[0].found
    assert exit_code(found) == 1


def test_of_several_hosts_the_primary_is_read(pair: Pair) -> None:
    with reader_by(pair.url(pair.standby.port, pair.port)) as reader:
        assert names_read(reader) == {"changed on the primary"}


@pytest.mark.parametrize("comes_back", [True, False])
def test_while_the_primary_restarts_the_standby_beside_it_is_not_read(pair: Pair, comes_back: bool) -> None:
    def wait(_seconds: float) -> None:
        if comes_back:
            pair.start()

    try:
        with reader_by(pair.url(pair.port, pair.standby.port), wait) as reader:
            pages = reader.pages(MARCH, None, 10)
            read = next(pages)
            pair.primary.stop()
            if comes_back:
                read += [row for page in pages for row in page]
                assert {row[4] for row in read} == {"changed on the primary"}
                assert len(read) == ROWS
            else:
                with pytest.raises(SourceUnavailable) as caught:
                    next(pages)
                assert caught.value.exit_code == 3
    finally:
        pair.start()


def test_another_server_behind_the_same_name_is_refused(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Postgres(tmp_path_factory.mktemp("other"))
    try:
        listener = attach_or_start(other, None)
        other.prepare(listener)
        with switch(pair.port) as server:
            known = KnownServers()
            with reader_by(pair.url(server.port), known=known) as reader:
                assert reader.count(MARCH) == ROWS
                server.to(listener.port)
                with pytest.raises(SessionRefused, match="led to another PostgreSQL than the first one"):
                    reader.count(MARCH)
            # And for every other reader in this process.
            with reader_by(pair.url(server.port), known=known) as reader, pytest.raises(SourceRefused):
                reader.count(MARCH)
    finally:
        other.stop()
        other.remove()


def test_a_primary_that_a_failover_left_behind_is_refused(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is no replica, and has the same identifier: only its timeline is older."""
    with (
        standby_of(pair.port, tmp_path_factory.mktemp("promoted")) as promoted,
        switch(pair.port) as server,
        reader_by(pair.url(server.port)) as reader,
    ):
        assert reader.count(MARCH) == ROWS
        promoted.promote()
        with psycopg.connect(url(promoted.port, SOURCE_DATABASE, OWNER), autocommit=True) as owner:
            owner.execute("CHECKPOINT")
        server.to(promoted.port)
        assert reader.count(MARCH) == ROWS, "a failover goes on"
        server.to(pair.port)
        with pytest.raises(SessionRefused, match="that a failover left behind"):
            reader.count(MARCH)
