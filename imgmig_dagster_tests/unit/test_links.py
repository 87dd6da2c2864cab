"""Where a person opens a file: on this machine, in a sandbox's S3, in AWS's console."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.defs.links import shown, url_of

AWS = AwsAccess("eu-west-1", None, "test", "test")
SANDBOX = replace(AWS, endpoint_urls=(("s3", "http://127.0.0.1:4566"),))
CONSOLE = "https://eu-west-1.console.aws.amazon.com/s3/object"


@pytest.mark.parametrize(
    ("place", "access", "url"),
    [
        ("/var/lib/a b/summary.html", AWS, "file:///var/lib/a%20b/summary.html"),
        ("s3://reports/dev/summary.html", SANDBOX, "http://127.0.0.1:4566/reports/dev/summary.html"),
        ("s3://reports/dev/a b.html", AWS, f"{CONSOLE}/reports?region=eu-west-1&prefix=dev/a%20b.html"),
        (
            "s3://reports/x.html",
            replace(AWS, region="cn-north-1"),
            "https://cn-north-1.console.amazonaws.cn/s3/object/reports?region=cn-north-1&prefix=x.html",
        ),
        (
            "s3://reports/x.html",
            replace(AWS, region="us-gov-west-1"),
            "https://us-gov-west-1.console.amazonaws-us-gov.com/s3/object/reports?region=us-gov-west-1&prefix=x.html",
        ),
    ],
)
def test_a_place_has_an_address(place: str, access: AwsAccess, url: str) -> None:
    assert url_of(place, access) == url


def test_the_ui_links_what_is_in_s3_and_names_what_is_on_a_disk(tmp_path: Path) -> None:
    file = str(tmp_path / "summary.html")

    assert shown(file, AWS) == dg.MetadataValue.path(file)
    assert shown("s3://reports/x.html", SANDBOX) == dg.MetadataValue.url("http://127.0.0.1:4566/reports/x.html")
