"""Which state store IMGMIG_STATE_URL names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from imgmig_dagster.aws import AwsAccess
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import LocalStateStore, StateStore


def open_state(url: str, stage: str, access: AwsAccess) -> StateStore:
    """The state of one stage below a URL: ``file:///absolute/path`` or ``s3://bucket/prefix``.

    Raises:
        SettingsError: a URL of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path not in ("", "/"):
        return LocalStateStore(Path(unquote(parts.path)) / stage)
    if parts.scheme == "s3" and parts.netloc:
        return S3StateStore(access.client("s3"), parts.netloc, f"{parts.path.strip('/')}/{stage}")
    raise SettingsError("IMGMIG_STATE_URL must be file:///absolute/path or s3://bucket/prefix")
