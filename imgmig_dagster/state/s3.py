"""State in an S3 prefix. Writes are conditional on the version that was read; a lease (`lease`) replaces a lock."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

from imgmig_dagster.aws.access import BotoCoreError, ClientError
from imgmig_dagster.clock import awake_or_not
from imgmig_dagster.errors import StateChanged, StateUnavailable
from imgmig_dagster.fence import Fence
from imgmig_dagster.state.appending import ObjectsOfLines
from imgmig_dagster.state.lease import LEASE_SECONDS, Lease
from imgmig_dagster.state.names import AppendedFile
from imgmig_dagster.state.store import ABSENT, Appender, Versioned, replaced

_ABSENT_CODES: Final = frozenset({"NoSuchKey"})  # S3 says so: a 404 alone is somebody else's
_REFUSED_CODES: Final = frozenset({"PreconditionFailed", "412"})
_CONFLICT_CODES: Final = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_BROKEN_OFF: Final = (ResponseStreamingError, IncompleteReadError)
_CONFLICT_PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8)
_APPEND_INTERVAL_S: Final = 30.0  # each time is a request


class S3StateStore:
    """One stage's state below ``s3://bucket/prefix``, encrypted by the bucket's setting.

    `client` is botocore's S3 client. Versions are ETags, checked by If-Match and If-None-Match. Every method raises
    `StateUnavailable` if S3 cannot be reached or refuses.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str,
        clock: Callable[[], float] = awake_or_not,
        sleep: Callable[[float], None] = time.sleep,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._clock = clock
        self._sleep = sleep
        self._lease_seconds = lease_seconds

    def read(self, name: str) -> Versioned | None:
        """See `StateStore.read`."""
        try:
            return self._read(name)
        except (ClientError, BotoCoreError, _NotOfS3Error) as error:
            if _code(error) in _ABSENT_CODES:
                return None
            raise self._unavailable("read", name, error) from None

    def _read(self, name: str, again: int = 2) -> Versioned:
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            return Versioned(found["Body"].read(), _etag(found))
        except _BROKEN_OFF:  # botocore repeats until there is a reply; reading its body is ours
            if again == 0:
                raise
        return self._read(name, again - 1)

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """See `StateStore.write`."""
        condition = {} if replacing is None else {"IfNoneMatch": "*"} if replacing == ABSENT else {"IfMatch": replacing}
        place = {"Bucket": self._bucket, "Key": self._key(name)}
        try:
            # The bucket decides how an object is encrypted: a header here would override its key.
            written = self._past_conflicts(lambda: self._client.put_object(**place, Body=content, **condition))
            return _etag(written)
        except (ClientError, BotoCoreError, _NotOfS3Error) as error:
            if replacing is None or not _may_be_done(error):
                raise self._unavailable("write", name, error) from None
            found = self.read(name)
            if found is not None and found.content == content:
                return found.version
            raise self._not_done("write", name, found, replacing, error) from None

    def append(self, name: str, content: bytes) -> None:
        """See `StateStore.append`."""
        longer = None
        while True:
            found = self.read(name)
            if longer is not None and found is not None and found.content.startswith(longer):
                return  # the reply was lost, and somebody else has added to it since
            longer = (found.content if found else b"") + content
            try:
                self.write(name, longer, found.version if found else ABSENT)
            except StateChanged:
                continue
            return

    def appender(self, file: AppendedFile) -> Appender:
        """See `StateStore.appender`."""
        return Appender(f"{self.locate(file.folder)}/", _APPEND_INTERVAL_S, ObjectsOfLines(self, file).append)

    def list(self, prefix: str) -> "list[str]":
        """See `StateStore.list`."""
        return sorted(self.versions(prefix))

    def versions(self, prefix: str) -> dict[str, str]:
        """The files below a folder with the version of each, a thousand a request."""
        entries = [entry for page in self._pages(prefix) for entry in page.get("Contents", [])]
        return {entry["Key"][len(self._prefix) :]: entry["ETag"] for entry in entries}

    def folders(self) -> Sequence[str]:
        """See `StateStore.folders`; a thousand a request."""
        found = [entry["Prefix"] for page in self._pages("", Delimiter="/") for entry in page.get("CommonPrefixes", [])]
        return sorted(prefix[len(self._prefix) : -1] for prefix in found)

    def _pages(self, prefix: str, **how: str) -> Iterator[dict[str, Any]]:
        folder = self._key(prefix) + ("/" if prefix else "")
        try:
            paginator = self._client.get_paginator("list_objects_v2")
            yield from paginator.paginate(Bucket=self._bucket, Prefix=folder, **how)
        except (ClientError, BotoCoreError) as error:
            raise self._unavailable("list", prefix, error) from None

    def below(self, folder: str) -> "S3StateStore":
        """See `StageState.below`."""
        place, timing = self._key(folder), (self._clock, self._sleep, self._lease_seconds)
        return S3StateStore(self._client, self._bucket, place, *timing)

    def delete(self, name: str, replacing: str | None = None) -> None:
        """See `StateStore.delete`."""
        condition = {} if replacing is None else {"IfMatch": replacing}
        place = {"Bucket": self._bucket, "Key": self._key(name)}
        try:
            self._past_conflicts(lambda: self._client.delete_object(**place, **condition))
        except (ClientError, BotoCoreError) as error:
            if _code(error) in _ABSENT_CODES:
                return
            if replacing is None or not _may_be_done(error):
                raise self._unavailable("delete", name, error) from None
            found = self.read(name)
            if found is not None:
                raise self._not_done("delete", name, found, replacing, error) from None

    def locate(self, name: str) -> str:
        """See `StateStore.locate`."""
        return f"s3://{self._bucket}/{self._key(name)}"

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[Fence]:
        """See `StateStore.exclusive`. A dead holder's lease is waited out."""
        lease = Lease(self, name, self._lease_seconds, self._clock, self._sleep)
        lease.acquire()
        try:
            yield lease.fence
        finally:
            lease.release()

    def _past_conflicts(self, call: Callable[[], Any]) -> Any:
        """Call again while S3 is busy with another request for the object, which may be our own earlier one."""
        for pause in _CONFLICT_PAUSES_S:
            try:
                return call()
            except ClientError as error:
                if _code(error) not in _CONFLICT_CODES:
                    raise
            self._sleep(pause)
        return call()

    def _not_done(
        self, verb: str, name: str, found: Versioned | None, replacing: str, error: Exception
    ) -> StateChanged | StateUnavailable:
        """The error for a request that may have been carried out, and was not, as `found` shows."""
        if (found.version if found else ABSENT) == replacing:
            return self._unavailable(verb, name, error)
        return replaced(self.locate(name))

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _unavailable(self, verb: str, name: str, error: Exception) -> StateUnavailable:
        cause = "a reply that is not S3's" if isinstance(error, _NotOfS3Error) else _code(error)
        return StateUnavailable(
            f"the state store could not {verb} {self.locate(name)}: {cause}. Check url in [state], the credentials "
            "and the role's s3:GetObject, PutObject, DeleteObject and ListBucket there"
        )


class _NotOfS3Error(Exception):
    """A reply without a version: S3 sends one with each object."""


def _etag(reply: dict[str, Any]) -> str:
    if not reply.get("ETag"):
        raise _NotOfS3Error
    return str(reply["ETag"])


def _may_be_done(error: Exception) -> bool:
    """Whether a conditional request may have been carried out, by itself or by a try whose reply was lost."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or _code(error) in _REFUSED_CODES | _CONFLICT_CODES | _ABSENT_CODES
    return isinstance(error, HTTPClientError)  # a connection that was closed, or a reply that did not come in time


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", type(error).__name__))
