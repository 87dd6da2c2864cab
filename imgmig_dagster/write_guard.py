"""Who may write: the only maker of `WritableTarget`.

Writes in prod are confirmed by name, and go to the configured account and region or nowhere.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from imgmig_dagster.aws import AwsAccess, BotoCoreError, ClientError
from imgmig_dagster.aws_endpoints import is_own_endpoint
from imgmig_dagster.aws_faults import may_pass
from imgmig_dagster.config import Settings
from imgmig_dagster.errors import SettingsError, TargetUnavailable, WritesRefused
from imgmig_dagster.stage import Stage
from imgmig_dagster.target.connection import TargetSettings, WritableTarget
from imgmig_dagster.transport import is_loopback


@dataclass(frozen=True)
class Caller:
    """Account and role that sign the requests."""

    account: str
    arn: str


def allow_writes(settings: Settings, confirmed: str | None, target: TargetSettings) -> WritableTarget:
    """The target, for a run that may write; every path that writes asks here. Only prod is guarded.

    Args:
        settings: of the stage; `confirm_writes` confirms as `confirmed` does, for every run.
        confirmed: the target table's name, as a person gave it for this run.
        target: where these settings say that the target is.

    Raises:
        WritesRefused: not confirmed, an endpoint that is not AWS's own, or another account or region.
        SettingsError: AWS refuses the credentials.
        TargetUnavailable: AWS cannot be reached.
    """
    if settings.stage is not Stage.PROD:
        return _writable(target)
    table = target.table
    if table not in (confirmed, settings.confirm_writes):
        raise WritesRefused(
            f"writes to {table} in prod are not confirmed: imgmig ... --confirm {table}; from the UI the run config "
            f"ops: {{migrated_images: {{config: {{confirm: {table}}}}}}} (or repair_report, orphan_report), which a "
            f"backfill takes too; or IMGMIG_CONFIRM_WRITES={table} where the code server runs"
        )
    access = target.access
    if fault := endpoint_fault(access, settings.aws_account) or account_fault(settings, caller(access).account):
        raise WritesRefused(f"writes to {table} in prod are refused: {fault}")
    return _writable(target)


def allow_scratch_writes(target: TargetSettings) -> WritableTarget:
    """The target, if it is an emulator's on this machine: what is tried there needs nobody's word.

    Raises:
        WritesRefused: it is another one.
    """
    url = target.access.endpoint_url("dynamodb")
    if not is_loopback(urlsplit(url).hostname or ""):
        raise WritesRefused(f"scratch tables are written on this machine alone, and DynamoDB is at {url}")
    return _writable(target)


def _writable(target: TargetSettings) -> WritableTarget:
    return WritableTarget(**vars(target))


def endpoint_fault(access: AwsAccess, account: str | None = None) -> str | None:
    """What is wrong with where DynamoDB's requests go: an emulator's endpoint, or another region's.

    `account` is the configured one, which may have an endpoint of its own.
    """
    url = access.endpoint_url("dynamodb")
    host = urlsplit(url).hostname or ""
    if access.region is None:
        return "AWS_REGION is not set"
    if is_own_endpoint(host, access.region, account):
        return None
    # AWS's names hold the region.
    if any(is_own_endpoint(host, label, account) for label in host.split(".") if "-" in label):
        return f"the endpoint {url} is not of AWS_REGION={access.region}"
    return f"the endpoint {url} is not AWS's own; unset AWS_ENDPOINT_URL*"


def account_fault(settings: Settings, account: str) -> str | None:
    """What is wrong with the account that the credentials belong to."""
    if settings.aws_account is None:
        return "IMGMIG_AWS_ACCOUNT is not set: name the account that may be written to"
    if settings.aws_account != account:
        return f"the credentials are of account {account}, and IMGMIG_AWS_ACCOUNT is {settings.aws_account}"
    return None


def caller(access: AwsAccess) -> Caller:
    """Whose the credentials are, as STS says.

    Raises:
        SettingsError: STS refuses the credentials, or there are none.
        TargetUnavailable: STS cannot be reached, or fails.
        AwsUnusable: nor can anything else of AWS.
    """
    try:
        found = access.client("sts").get_caller_identity()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if may_pass(error):
            raise TargetUnavailable(f"AWS STS answered {code}: give the same command again later") from None
        raise SettingsError(f"AWS STS answered {code} to the credentials: check AWS_PROFILE or the role") from None
    except BotoCoreError as error:
        raise TargetUnavailable(
            f"AWS STS cannot be reached at {access.endpoint_url('sts')}: {type(error).__name__}. It tells whose the "
            "credentials are; a private subnet needs an interface endpoint of com.amazonaws.REGION.sts"
        ) from None
    return Caller(found["Account"], found["Arn"])
