"""Exports to S3 as DynamoDB makes them, which no emulator does: asynchronous, by token, with manifests and checksums.

Source: "DynamoDB table export output format" in AWS's developer guide, and the API reference of
ExportTableToPointInTime. moto writes one file, no manifest, and knows no token.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from imgmig_dagster.target.exports import TableExports
from imgmig_dagster_tests.arrange import Target, access
from imgmig_dagster_tests.fault_proxy import Action, Call, Drop, FaultProxy, Forward, Reply, error

PREFIX = "census/of"
FILES = 3
_FOREVER = 10_000


@dataclass
class ExportService:
    """Answers export requests about a table at a proxy; each export is complete at its look number `polls`.

    `refusals` answer in its place, by operation; `failure` is what an export fails by. An export is of `lag_s` before
    it was asked for. `s3_url` is another way to S3 for the code under test.
    """

    target: Target
    proxy: FaultProxy
    polls: int = 2
    lag_s: float = 0.0
    s3_url: str = ""
    asked: list[str] = field(default_factory=list)
    failure: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, Action] = field(default_factory=dict)
    after_the_request: Callable[[], object] = lambda: None
    after_completion: Callable[[], object] = lambda: None
    _exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    _items: dict[str, list[Any]] = field(default_factory=dict)
    _looks: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bucket = f"exports-{self.target.name}"
        self.s3 = access(self.target.url).client("s3")
        self.s3.create_bucket(Bucket=self.bucket)
        self.proxy.inject(self._ask, "ExportTableToPointInTime", _FOREVER)
        self.proxy.inject(self._describe, "DescribeExport", _FOREVER)

    @property
    def exports(self) -> TableExports:
        """How the code under test reaches it."""
        at = replace(
            access(self.target.url),
            endpoint_urls=(("dynamodb", self.proxy.url), ("s3", self.s3_url or self.target.url)),
        )
        return TableExports(at, f"s3://{self.bucket}/{PREFIX}")

    def keys(self) -> list[str]:
        """The objects of the exports."""
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def change(self, ending: str, content: bytes | None) -> None:
        """Replace the content of the last object whose key ends so; None deletes it."""
        key = [each for each in self.keys() if each.endswith(ending)][-1]
        if content is None:
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        else:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def content(self, ending: str) -> bytes:
        """The content of the last object whose key ends so."""
        key = [each for each in self.keys() if each.endswith(ending)][-1]
        found: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return found

    async def _ask(self, call: Call, forward: Forward) -> Reply | Drop:
        if refusal := self.refusals.get(call.operation):
            return await refusal(call, forward)
        token = call.body["ClientToken"]
        if token not in self._exports:
            assert call.body["S3Bucket"] == self.bucket
            assert call.body["ExportFormat"] == "DYNAMODB_JSON"
            identifier = f"0170000000{len(self.asked):04}-a1b2c3d4"
            self._exports[token] = {
                "ExportArn": f"{call.body['TableArn']}/export/{identifier}",
                "ExportStatus": "IN_PROGRESS",
                "ExportTime": round(time.time() - self.lag_s, 3),
                "StartTime": round(time.time(), 3),
                "TableArn": call.body["TableArn"],
                "ClientToken": token,
            }
            self._items[token] = await asyncio.to_thread(lambda: list(self.target.items().values()))
            self.asked.append(token)
            await asyncio.to_thread(self.after_the_request)
        return _reply(self._exports[token])

    async def _describe(self, call: Call, forward: Forward) -> Reply | Drop:
        if refusal := self.refusals.get(call.operation):
            return await refusal(call, forward)
        asked = [each for each, found in self._exports.items() if found["ExportArn"] == call.body["ExportArn"]]
        if not asked:
            return await error("ExportNotFoundException", 400)(call, forward)
        (token,) = asked
        self._looks[token] = self._looks.get(token, 0) + 1
        if self.failure:
            return _reply({**self._exports[token], "ExportStatus": "FAILED", **self.failure})
        if self._looks[token] == self.polls:
            await asyncio.to_thread(self._complete, token)
            await asyncio.to_thread(self.after_completion)
        return _reply(self._exports[token])

    def _complete(self, token: str) -> None:
        export, items = self._exports[token], self._items[token]
        folder = f"{PREFIX}/AWSDynamoDB/{export['ExportArn'].rpartition('/')[2]}"
        listed = []
        for number in range(FILES + 1):
            some = items[number::FILES] if number < FILES else []  # the last is of a part that holds no item
            lines = b"".join(json.dumps({"Item": item}).encode() + b"\n" for item in some)
            content = gzip.compress(lines) if some else b""
            key = f"{folder}/data/file{number}.json.gz"
            self._put(key, content)
            md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
            listed.append({"itemCount": len(some), "md5Checksum": md5, "etag": "x-1", "dataFileS3Key": key})
        self._put(f"{folder}/manifest-files.json", "".join(json.dumps(each) + "\n" for each in listed).encode())
        summary = {
            "version": "2020-06-30",
            "exportArn": export["ExportArn"],
            "manifestFilesS3Key": f"{folder}/manifest-files.json",
            "itemCount": len(items),
            "outputFormat": "DYNAMODB_JSON",
        }
        self._put(f"{folder}/manifest-summary.json", json.dumps(summary).encode())
        manifest = f"{folder}/manifest-summary.json"
        export |= {"ExportStatus": "COMPLETED", "ExportManifest": manifest, "ItemCount": len(items)}

    def _put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)


def _reply(description: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps({"ExportDescription": description}).encode())
