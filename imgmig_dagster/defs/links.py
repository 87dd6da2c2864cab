"""Makes links to files of the state and of reports, for Dagster's UI and for ``imgmig report --open``.

No link is presigned: it would be a secret in Dagster's event log.
"""

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import dagster as dg

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.transport import is_loopback

# By AWS's partition: https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/configure-account.html for GovCloud.
_CONSOLES: Final = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def url_of(place: str, access: AwsAccess) -> str:
    """The address for a browser: of a file, of an object in a sandbox's S3, or of its page in AWS's console."""
    parts = urlsplit(place)
    if parts.scheme != "s3":
        return Path(place).absolute().as_uri()
    bucket, key = parts.netloc, quote(parts.path.lstrip("/"))
    endpoint = access.endpoint_url("s3")
    if is_loopback(urlsplit(endpoint).hostname or ""):
        return f"{endpoint}/{bucket}/{key}"
    meta = access.client("s3").meta
    region, console = meta.region_name, _CONSOLES.get(meta.partition, _CONSOLES["aws"])
    return f"https://{region}.{console}/s3/object/{bucket}?region={region}&prefix={key}"


def shown(place: str, access: AwsAccess) -> dg.MetadataValue[Any]:
    """A link; for a local file its path, since a browser opens no file from a server's page."""
    is_remote = urlsplit(place).scheme == "s3"
    return dg.MetadataValue.url(url_of(place, access)) if is_remote else dg.MetadataValue.path(place)
