"""Exports the whole target to S3 by DynamoDB: asks for an export, finds it again, and reads it file by file.

The export is of one moment and costs the table no read capacity; it needs point-in-time recovery. Every file is
compared with the export's manifest. `target_table` holds the `scan` of the table.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timezone
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import SettingsError, TargetError, TargetRefused, TargetUnavailable
from imgmig_dagster.mapping.rows import Item

_PART_BYTES: Final = 2**20
_ITEMS_AT_ONCE: Final = 1_000
_TRIES: Final = 5
_TAKE_ANOTHER: Final = "Run the census again, which asks for another export"
_DENIED: Final = ("AccessDenied", "AccessDeniedException")


class ExportDamaged(TargetRefused):
    """An export that is not what its manifest says."""


@dataclass(frozen=True)
class Export:
    """An export as DynamoDB describes it: `status` is IN_PROGRESS, COMPLETED or FAILED, `as_of` its moment, ISO 8601.

    `manifest` is the key of its summary, known when it is complete.
    """

    arn: str
    status: str
    as_of: str
    manifest: str
    failure: str


@dataclass(frozen=True)
class ExportFile:
    """One of the files of an export, as its manifest lists it; `md5` is in base64."""

    key: str
    items: int
    md5: str


@dataclass(frozen=True)
class TableExports:
    """The exports of a table below `url`, ``s3://bucket/prefix``. Every method blocks; threads may call it.

    Raises:
        SettingsError: the URL is not one of S3.
        TargetRefused: AWS refuses: no permission, no such bucket, point-in-time recovery is off.
        TargetUnavailable: AWS cannot be reached, or pushes back.
    """

    access: AwsAccess
    url: str

    @property
    def bucket(self) -> str | None:
        """The bucket; None if the URL is not one of S3."""
        place = urlsplit(self.url)
        return (place.netloc or None) if place.scheme == "s3" else None

    def ask(self, table_arn: str, token: str) -> Export:
        """Ask for an export of the table as it is now. Within 8 hours the same token asks for the same export."""
        bucket, prefix = self._place()
        with_prefix = {"S3Prefix": prefix} if prefix else {}
        return self._describe(
            "export_table_to_point_in_time",
            TableArn=table_arn,
            ClientToken=token,
            S3Bucket=bucket,
            ExportFormat="DYNAMODB_JSON",
            **with_prefix,
        )

    def find(self, arn: str) -> Export:
        """The current state of an export that was asked for before."""
        return self._describe("describe_export", ExportArn=arn)

    def files(self, export: Export) -> Sequence[ExportFile]:
        """The data files of a complete export.

        Raises:
            ExportDamaged: a manifest is gone, altered, or of another export.
        """
        summary = self._manifest(export.manifest)
        try:
            [summed] = summary
            if summed["exportArn"] != export.arn:
                raise ExportDamaged(f"{self._locate(export.manifest)} is of {summed['exportArn']}. {_TAKE_ANOTHER}")
            listed = self._manifest(self._key(summed["manifestFilesS3Key"]))
            found = [
                ExportFile(self._key(each["dataFileS3Key"]), int(each["itemCount"]), each["md5Checksum"])
                for each in listed
            ]
            if sum(each.items for each in found) != int(summed["itemCount"]):
                raise ExportDamaged(
                    f"{self._locate(export.manifest)} counts {summed['itemCount']:,} items, and its files "
                    f"{sum(each.items for each in found):,}: a file is not listed. {_TAKE_ANOTHER}"
                )
        except (KeyError, TypeError, ValueError):
            raise self._no_manifest(export.manifest) from None
        return found

    def items(self, file: ExportFile) -> Iterator[list[Item]]:
        """The items of a file, some at a time.

        Raises:
            ExportDamaged: the file is gone, torn, altered, or holds another number of items. Raised at its end: the
                caller must drop what it has read.
        """
        rest, items, count = b"", list[Item](), 0
        try:
            for content in self._content(file):
                *lines, rest = (rest + content).split(b"\n")
                items += (orjson.loads(line)["Item"] for line in lines if line)
                while len(items) >= _ITEMS_AT_ONCE:
                    count += _ITEMS_AT_ONCE
                    yield items[:_ITEMS_AT_ONCE]
                    del items[:_ITEMS_AT_ONCE]
            items += (orjson.loads(line)["Item"] for line in (rest,) if line)
        except (ValueError, KeyError, TypeError):
            raise self._damaged(file, "is torn, or was altered") from None
        if items:
            yield items
        if (count := count + len(items)) != file.items:
            raise self._damaged(file, f"holds {count:,} items, and the manifest says {file.items:,}")

    def _content(self, file: ExportFile) -> Iterator[bytes]:
        """The unpacked content of a file. A part of the table without items gives a file without bytes."""
        # The documentation does not say whether the checksum is of the file or of its unpacked content.
        packed, unpacked = (hashlib.md5(usedforsecurity=False) for _each in range(2))
        unpacking, at = zlib.decompressobj(wbits=31), 0
        for part in self._parts(file.key):
            at += len(part)
            packed.update(part)
            try:
                content = unpacking.decompress(part)
            except zlib.error:
                raise self._damaged(file, "is torn, or was altered") from None
            unpacked.update(content)
            yield content
        if at and (not unpacking.eof or unpacking.unused_data):
            raise self._damaged(file, "is torn, or was altered")
        if file.md5 not in {base64.b64encode(each.digest()).decode() for each in (packed, unpacked)}:
            raise self._damaged(file, "has another MD5 than the manifest says")

    def _parts(self, key: str) -> Iterator[bytes]:
        """A file's bytes. If the connection breaks, it goes on after what has arrived."""
        at, tries = 0, 0
        while True:
            try:
                found = self._s3("get_object", key, **({"Range": f"bytes={at}-"} if at else {}))
                for part in found["Body"].iter_chunks(_PART_BYTES):
                    at, tries = at + len(part), 0
                    yield part
                return
            except BotoCoreError as error:
                tries += 1
                if tries == _TRIES:
                    raise TargetUnavailable(
                        f"{self._locate(key)} could not be read: {type(error).__name__}. Run the same command again, "
                        "which reads this export again"
                    ) from None

    def _manifest(self, key: str) -> list[Any]:
        try:
            return [orjson.loads(line) for line in b"".join(self._parts(key)).splitlines() if line]
        except ValueError:
            raise self._no_manifest(key) from None

    def _no_manifest(self, key: str) -> ExportDamaged:
        return ExportDamaged(f"{self._locate(key)} is not the manifest of an export. {_TAKE_ANOTHER}")

    def _damaged(self, file: ExportFile, what: str) -> ExportDamaged:
        return ExportDamaged(f"{self._locate(file.key)} {what}. {_TAKE_ANOTHER}")

    def _key(self, named: str) -> str:
        """The key of an object that a manifest names, with or without the export's prefix."""
        _bucket, prefix = self._place()
        return named if not prefix or named.startswith(f"{prefix}/") else f"{prefix}/{named}"

    def _describe(self, operation: str, **request: Any) -> Export:
        found = self._dynamodb(operation, **request)["ExportDescription"]
        failure = ": ".join(found[name] for name in ("FailureCode", "FailureMessage") if found.get(name))
        # A request without a time is for its own moment.
        as_of = found.get("ExportTime") or found.get("StartTime")
        return Export(
            arn=found["ExportArn"],
            status=found["ExportStatus"],
            as_of=as_of.astimezone(timezone.utc).isoformat(timespec="milliseconds") if as_of else "",
            manifest=found.get("ExportManifest", ""),
            failure=failure,
        )

    def _dynamodb(self, operation: str, **request: Any) -> Any:
        try:
            return getattr(self.access.client("dynamodb"), operation)(**request)
        except ClientError as error:
            raise _refused(error, "DynamoDB", "the export of the table") from None
        except BotoCoreError as error:
            raise TargetUnavailable(f"DynamoDB cannot be reached: {type(error).__name__}: {error}") from None

    def _s3(self, operation: str, key: str, **request: Any) -> Any:
        try:
            return getattr(self.access.client("s3"), operation)(Bucket=self._place()[0], Key=key, **request)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise ExportDamaged(f"{self._locate(key)} is gone. {_TAKE_ANOTHER}") from None
            raise _refused(error, "S3", self._locate(key)) from None

    def _locate(self, key: str) -> str:
        return f"s3://{self._place()[0]}/{key}"

    def _place(self) -> tuple[str, str]:
        if self.bucket is None:
            raise SettingsError("export_url in [target] must be s3://bucket/prefix")
        return self.bucket, urlsplit(self.url).path.strip("/")


def _refused(error: ClientError, who: str, what: str) -> TargetError:
    code = error.response.get("Error", {}).get("Code", "an error")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "PointInTimeRecoveryUnavailableException":
        return TargetRefused(
            "the table cannot be exported: its point-in-time recovery is off. Turn it on, or remove export_url from "
            "[target] to scan the table"
        )
    if code == "ExportNotFoundException":
        return ExportDamaged(f"{what} is no longer known to DynamoDB. {_TAKE_ANOTHER}")
    if status >= 500 or code in ("LimitExceededException", "ThrottlingException", "SlowDown"):
        return TargetUnavailable(f"{who} answered {code} for {what}: try again later")
    advice = "check the permissions (deploy/iam/exporter.json)" if code in _DENIED else "check export_url in [target]"
    return TargetRefused(f"{who} answered {code} for {what}: {advice}")
