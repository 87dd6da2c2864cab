"""The ways that boto3 offers, fed from the same SQL: what a careful script would do."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Final

import boto3
import psycopg

from benchmarks.job import IN_FLIGHT, MARCH, PAGE, TARGET_TABLE, Job, Sample, measured
from imgmig_dagster.sandbox.aws_process import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

_BATCH_GET: Final = 100
_QUERY: Final = """
SELECT id::text, user_id::text, created_at, updated_at, original_filename, s3_key, s3_bucket, thumbnail_s3_key,
       mime_type, size_bytes, width, height
FROM {table} WHERE created_at >= %(start)s AND created_at < %(end)s {behind} ORDER BY created_at, id LIMIT %(size)s
"""


def batch_writer(job: Job) -> Sample:
    """`batch_writer` of the resource API."""
    table = _resource(job).Table(TARGET_TABLE)

    def write(source_table: str) -> None:
        with table.batch_writer() as writer:
            for page in _pages(job, source_table):
                for row in page:
                    writer.put_item(Item=_values(row))

    write(job.warm_up_table)
    return measured(job.rows, lambda: write(job.source_table))


def put_items(job: Job) -> Sample:
    """Conditional PutItem of the client API in ten threads; the items are written in the service's JSON by hand."""
    client = _session().client("dynamodb", endpoint_url=job.endpoint)

    def put(row: tuple[Any, ...]) -> None:
        client.put_item(TableName=TARGET_TABLE, Item=_item(row), ConditionExpression="attribute_not_exists(PK)")

    def write(source_table: str) -> None:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            for page in _pages(job, source_table):
                for _done in pool.map(put, page):
                    pass

    write(job.warm_up_table)
    return measured(job.rows, lambda: write(job.source_table))


def batch_get(job: Job) -> Sample:
    """`batch_get_item` of the resource API, and a comparison of dictionaries."""
    resource = _resource(job)

    def read(source_table: str) -> int:
        same = 0
        for page in _pages(job, source_table):
            rows = iter(page)
            while chunk := {f"IMAGE#{row[0]}": row for row in islice(rows, _BATCH_GET)}:
                keys = [{"PK": key, "SK": "METADATA"} for key in chunk]
                reply = resource.batch_get_item(RequestItems={TARGET_TABLE: {"Keys": keys, "ConsistentRead": True}})
                items = {item["PK"]: item for item in reply["Responses"][TARGET_TABLE]}
                same += sum(items.get(key) == _values(row) for key, row in chunk.items())
        return same

    read(job.warm_up_table)
    found: list[int] = []
    sample = measured(job.rows, lambda: found.append(read(job.source_table)))
    if found != [job.rows]:
        raise RuntimeError(f"boto3 found {found} of {job.rows} items equal")
    return sample


def _pages(job: Job, table: str) -> Iterator[list[tuple[Any, ...]]]:
    parameters: dict[str, Any] = {"start": MARCH.start, "end": MARCH.end, "size": PAGE}
    behind = ""
    with psycopg.connect(job.source_url, autocommit=True) as connection:
        while page := connection.execute(_QUERY.format(table=table, behind=behind), parameters).fetchall():
            yield page
            behind = "AND (created_at, id) > (%(after)s, %(after_id)s::uuid)"
            parameters |= {"after": page[-1][2], "after_id": page[-1][0]}


def _values(row: tuple[Any, ...]) -> dict[str, Any]:
    """An item in Python's own types, as the resource API takes it and gives it back."""
    return {
        "PK": f"IMAGE#{row[0]}",
        "SK": "METADATA",
        "userId": row[1],
        "createdAt": _iso(row[2]),
        "updatedAt": _iso(row[3]),
        "originalFilename": row[4],
        "s3Key": row[5],
        "s3Bucket": row[6],
        "thumbnailS3Key": row[7],
        "mimeType": row[8],
        "sizeBytes": row[9],
        "width": row[10],
        "height": row[11],
        "version": 1,
    }


def _item(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        name: {"NULL": True} if value is None else {"S": value} if isinstance(value, str) else {"N": str(value)}
        for name, value in _values(row).items()
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _session() -> boto3.session.Session:
    return boto3.session.Session(
        aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION
    )


def _resource(job: Job) -> Any:
    return _session().resource("dynamodb", endpoint_url=job.endpoint)
