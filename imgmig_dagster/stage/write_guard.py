"""Decides who may write: only this module makes a `WritableTarget`.

Writes in prod must be confirmed by the table's name, and go only to the configured account and region. In every stage
the table is marked with the one state that writes to it (`target.marks`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from imgmig_dagster.aws.access import AwsAccess, BotoCoreError, ClientError
from imgmig_dagster.aws.aws_faults import may_pass
from imgmig_dagster.aws.endpoints import is_own_endpoint
from imgmig_dagster.errors import SettingsError, TargetUnavailable, WritesRefused
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.stage.services import stage_state
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.state import names
from imgmig_dagster.state.identity import make_identity
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.target.marks import SHOWS_AFTER_S, claim
from imgmig_dagster.target.open_target import TargetSettings, WritableTarget
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster.transport import is_loopback

_NEAR_SHOWS_AFTER_S: Final = 0.1


@dataclass(frozen=True)
class _Claiming(WritableTarget):
    """Claims the table for the settings' state before it is opened."""

    settings: Settings = field(kw_only=True)

    @asynccontextmanager
    async def open(self, mapping: TableMapping) -> AsyncIterator[WritableTable]:
        """The table, ready for reads and writes; for what it raises see `target.marks.claim`."""
        await asyncio.to_thread(_claim, self.settings, self)
        async with super().open(mapping) as table:
            yield table


@dataclass(frozen=True)
class _MarkedTable:
    """The table with this state's mark."""

    arn: str


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
        return _claiming(settings, target)
    table, name = target.table, target.mapping.name
    if table not in (confirmed, settings.confirm_writes):
        raise WritesRefused(
            f"writes to {table} in prod are not confirmed: imgmig ... --confirm {table}; from the UI the run config "
            f"ops: {{migrated_{name}: {{config: {{confirm: {table}}}}}}} (or repair_report, orphan_report), which a "
            f"backfill takes too; or IMGMIG_CONFIRM_WRITES={table} where the code server runs"
        )
    access = target.access
    if fault := endpoint_fault(access, settings.target.aws_account) or account_fault(settings, caller(access).account):
        raise WritesRefused(f"writes to {table} in prod are refused: {fault}")
    return _claiming(settings, target)


def allow_scratch_writes(target: TargetSettings) -> WritableTarget:
    """The target, if it is an emulator on this machine: writes there need no confirmation.

    Raises:
        WritesRefused: it is not.
    """
    url = target.access.endpoint_url("dynamodb")
    if not is_loopback(urlsplit(url).hostname or ""):
        raise WritesRefused(f"scratch tables are written on this machine alone, and DynamoDB is at {url}")
    return WritableTarget(**vars(target))


def _claiming(settings: Settings, target: TargetSettings) -> WritableTarget:
    return _Claiming(**vars(target), settings=settings)


def _claim(settings: Settings, target: TargetSettings) -> None:
    access, arn = target.access, target.identity().arn
    store = stage_state(settings)
    state, marked = make_identity(store), load_record(store, names.TARGET, _MarkedTable)
    # An emulator on this machine shows its tags at once.
    is_near = is_loopback(urlsplit(access.endpoint_url("dynamodb")).hostname or "")
    has_begun = marked == _MarkedTable(arn)
    claim(access, arn, state.id, state.place, has_begun, _NEAR_SHOWS_AFTER_S if is_near else SHOWS_AFTER_S)
    if not has_begun:
        save_record(store, names.TARGET, _MarkedTable(arn))


def endpoint_fault(access: AwsAccess, account: str | None = None) -> str | None:
    """The fault of the endpoint of DynamoDB's requests: it is an emulator's, or another region's.

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
    """The fault of the account that the credentials belong to."""
    if settings.target.aws_account is None:
        return "aws_account in [target] is missing: name the account that may be written to"
    if settings.target.aws_account != account:
        return f"the credentials are of account {account}, and aws_account in [target] is {settings.target.aws_account}"
    return None


def caller(access: AwsAccess) -> Caller:
    """The account and role of the credentials, as STS says.

    Raises:
        SettingsError: STS refuses the credentials, or there are none.
        TargetUnavailable: STS cannot be reached, or fails.
        AwsUnusable: no request to AWS can succeed.
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
