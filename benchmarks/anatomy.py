"""Where the CPU of a row goes: each stage of the work alone, over the same rows, without a profiler's own cost."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import orjson

from benchmarks.job import MARCH, PAGE, TARGET_TABLE, Job, Sample, cpu_seconds, measured
from imgmig_dagster.batches import batched
from imgmig_dagster.fence import UNFENCED
from imgmig_dagster.mapping.compare import comparer, undeclared_attributes
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.target.client import DynamoDBClient
from imgmig_dagster.target.inserts import MAX_BATCH_INSERT, BatchInsert, Insert
from imgmig_dagster.target.requests import MAX_BATCH_GET, MAX_BATCH_WRITE, BatchGetItem, BatchWriteItem
from imgmig_dagster_tests.images import IMAGE


def batch(job: Job) -> Sample:
    """The stages of batch mode."""
    rows, items, parts = _rows_and_items(job)
    bodies = list(_timed(parts, "encode the requests", lambda: list(_write_bodies(items))))
    _send(job, "BatchWriteItem", bodies, parts)
    return _total(parts, rows)


def conditional(job: Job) -> Sample:
    """The stages of conditional mode."""
    rows, items, parts = _rows_and_items(job)
    bodies = list(
        _timed(
            parts,
            "encode the requests",
            lambda: [
                BatchInsert(TARGET_TABLE, [Insert(TARGET_TABLE, item) for item in batch]).body()
                for batch in batched(items, MAX_BATCH_INSERT)
            ],
        )
    )
    _send(job, "BatchExecuteStatement", bodies, parts)
    with job.reader(job.source_table) as reader:
        reader.count(MARCH)
        ids = [row.id for row in rows]
        _timed(
            parts,
            "read the rows a second time",
            lambda: [reader.rows(page) for page in batched(ids, PAGE)],
        )
    return _total(parts, rows)


def verify(job: Job) -> Sample:
    """The stages of a verification, against a server that remembers the items."""
    rows, items, parts = _rows_and_items(job)
    parts.pop("transform")
    keys = [IMAGE.key(row.id) for row in rows]

    def encode() -> list[bytes]:
        return [BatchGetItem(TARGET_TABLE, batch).body() for batch in batched(keys, MAX_BATCH_GET)]

    bodies = list(_timed(parts, "encode the requests", encode))
    _send(job, "BatchGetItem", bodies, parts)
    replies = [orjson.dumps({"Responses": {TARGET_TABLE: chunk}}) for chunk in batched(items, MAX_BATCH_GET)]
    parsed = list(
        _timed(
            parts,
            "parse the replies (part of the line above)",
            lambda: [orjson.loads(reply)["Responses"][TARGET_TABLE] for reply in replies],
        )
    )
    found: list[Item] = [item for chunk in parsed for item in chunk]
    _timed(parts, "key of the item to id of the row", lambda: [IMAGE.row_id(item) for item in found])
    compare = comparer(IMAGE)
    _timed(parts, "compare", lambda: [compare(row, item) for row, item in zip(rows, found, strict=True)])
    _timed(parts, "look for undeclared attributes", lambda: [undeclared_attributes(IMAGE, item) for item in found])
    return _total(parts, rows)


def _rows_and_items(job: Job) -> tuple[list[Row], list[Item], dict[str, float]]:
    parts: dict[str, float] = {}
    with job.reader(job.source_table) as reader:
        reader.count(MARCH)
        pages = _timed(parts, "read the rows", lambda: asyncio.run(_read_ahead(reader.pages(MARCH, None, PAGE))))
    rows = [row for page in pages for row in page]
    transform = transformer(IMAGE)
    found = _timed(parts, "transform", lambda: [transform(row) for row in rows])
    return rows, [item for item in found if not isinstance(item, Rejection)], parts


async def _read_ahead(pages: Iterator[list[Row]]) -> list[list[Row]]:
    return [page async for page in ahead(pages)]


def _write_bodies(items: list[Item]) -> Iterator[bytes]:
    for batch in batched(items, MAX_BATCH_WRITE):
        yield BatchWriteItem(TARGET_TABLE, batch).body()


def _send(job: Job, operation: str, bodies: list[bytes], parts: dict[str, float]) -> None:
    """Signing alone, and the client's calls as a whole, ten workers over the encoded bodies."""

    async def send() -> None:
        target = job.target()
        async with DynamoDBClient(target.access, target.requests_in_flight) as client:
            sign = client._signer.headers  # noqa: SLF001  # what signing costs is the question
            _timed(parts, "sign (part of the line below)", lambda: [sign(operation, body) for body in bodies])
            waiting = iter(bodies)

            async def work() -> None:
                for body in waiting:
                    await client.call(operation, body, partial(UNFENCED.let_out, is_read=False))

            begun = cpu_seconds()
            await asyncio.gather(*(work() for _ in range(target.requests_in_flight)))
            parts["send and receive (sign, HTTP, parse)"] = cpu_seconds() - begun

    asyncio.run(send())


def _timed(parts: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    begun = cpu_seconds()
    result = work()
    parts[name] = cpu_seconds() - begun
    return result


def _total(parts: dict[str, float], rows: list[Row]) -> Sample:
    sample = measured(len(rows), lambda: None)
    return Sample(sample.rows, sum(parts.values()), sum(parts.values()), sample.peak_mb, parts)
