"""Examines how a census reads the table: by a scan or from an export to S3, and whether the role may export."""

from functools import partial
from typing import Final

from imgmig_dagster.aws.access import AwsAccess, ClientError
from imgmig_dagster.doctor.diagnosis import Examination, Health, ask_aws
from imgmig_dagster.doctor.hazards import described
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.target.exports import TableExports

_LARGE: Final = 10_000_000
# Well-formed, but no export has it: AWS checks the permission before it looks for the export.
_NO_EXPORT: Final = "01000000000000-00000000"


def export_examinations(settings: Settings) -> list[Examination]:
    """What a census needs. Without `export_url`: whether an export would be better than the scan."""
    access, table = settings.aws(), settings.target.table
    return [Examination("DynamoDB", "census", partial(check_census, access, table, settings.target.export_url))]


def check_census(access: AwsAccess, table: str, url: str | None) -> tuple[Health, str, str]:
    """How a census reads the table, and whether it can."""
    if url is None:
        return _scan(access, table)
    bucket = TableExports(access, url).bucket
    if bucket is None:
        return (
            Health.FAIL,
            "export_url in [target] names no bucket",
            "set export_url = 's3://bucket/prefix' in [target]",
        )
    if not recovery_is_on(access, table):
        return Health.FAIL, "by an export to S3, which needs point-in-time recovery: it is off", turn_on(table)
    client, arn = access.client("dynamodb"), described(access, table)["TableArn"]

    def describe() -> None:
        try:
            client.describe_export(ExportArn=f"{arn}/export/{_NO_EXPORT}")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExportNotFoundException":
                raise

    ask_aws("DescribeExport (deploy/iam/exporter.json allows it)", describe)
    return Health.OK, f"by an export to {url}; whether the role may start one shows only in a census", ""


def _scan(access: AwsAccess, table: str) -> tuple[Health, str, str]:
    items = described(access, table).get("ItemCount", 0)
    if items <= _LARGE or not recovery_is_on(access, table):
        return Health.OK, "by a scan", ""
    return (
        Health.WARN,
        f"by a scan of some {items:,} items, which takes read units of each",
        "an export to S3 takes none: set export_url in [target], and allow deploy/iam/exporter.json",
    )


def recovery_is_on(access: AwsAccess, table: str) -> bool:
    """Whether point-in-time recovery is on."""
    client = access.client("dynamodb")
    reply = ask_aws("DescribeContinuousBackups", lambda: client.describe_continuous_backups(TableName=table))
    state = reply["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    return bool(state.get("PointInTimeRecoveryStatus") == "ENABLED")


def turn_on(table: str) -> str:
    """The command that turns point-in-time recovery on."""
    return (
        f"aws dynamodb update-continuous-backups --table-name {table} "
        "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    )
