"""Opens the state store that `url` in `[state]` names, and finds a table's state in it.

`store` is a directory, `s3` a bucket.
"""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.state.index import IndexedStateStore
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import LocalStateStore, StageState, StateStore

_FIRST: Final = "images"
"""The one table that the first version knew: its state was the stage's."""
_PARTITION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def open_state(url: str, stage: str, access: AwsAccess) -> StageState:
    """The state of one stage below a URL: ``file:///absolute/path`` or ``s3://bucket/prefix``.

    Raises:
        SettingsError: a URL of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path not in ("", "/"):
        return LocalStateStore(Path(unquote(parts.path)) / stage)
    if parts.scheme == "s3" and parts.netloc:
        return S3StateStore(access.client("s3"), parts.netloc, f"{parts.path.strip('/')}/{stage}")
    raise SettingsError("url in [state] must be file:///absolute/path or s3://bucket/prefix")


def check_shared(url: str | None) -> None:
    """Check that several hosts can lock the state.

    Raises:
        SettingsError: it is a folder.
    """
    if url is not None and urlsplit(url).scheme == "file":
        raise SettingsError(
            "url in [state] names a folder, and the run launcher of dagster.yaml spreads runs over hosts: the "
            "locks of a folder hold on one. Set url = 's3://bucket/prefix' in [state]"
        )


def table_state(stage: StageState, table: str) -> StateStore:
    """The state of a table in that of its stage: a folder by its name.

    What the first version left at the top stays the state of its table, and goes on there.
    """
    if table == _FIRST and any(_PARTITION.fullmatch(name) for name in stage.folders()):
        return _indexed(stage)
    return _indexed(stage.below(table))


def _indexed(state: StateStore) -> StateStore:
    return IndexedStateStore(state) if isinstance(state, S3StateStore) else state
