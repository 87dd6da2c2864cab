"""Examines AWS: credentials, table, capacity, backups, buckets and the state store.

What a census needs is in `export_checks`; what a bulk write triggers is in `hazards`.
"""

import hashlib
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.aws.certificate_signing import SigningKey
from imgmig_dagster.doctor.diagnosis import Examination, Health, ask_aws
from imgmig_dagster.doctor.export_checks import export_examinations, recovery_is_on, turn_on
from imgmig_dagster.doctor.hazards import described, hazard_examinations
from imgmig_dagster.errors import StateError, StateUnavailable, TargetRefused
from imgmig_dagster.mapping.spec import PictureColumns, TableMapping
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.services import stage_state
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.write_guard import account_fault, caller, endpoint_fault
from imgmig_dagster.state import names
from imgmig_dagster.state.identity import known_identity
from imgmig_dagster.target.marks import read
from imgmig_dagster.target.target_table import describe

# What a new on-demand table takes at once: https://docs.aws.amazon.com/amazondynamodb (warm throughput).
_WARM_BY_DEFAULT: Final = 4_000
_PICTURE_BUCKETS: Final = 20


def aws_examinations(settings: Settings, mapping: TableMapping) -> list[Examination]:
    """The examinations that need the credentials and endpoints of these settings."""
    access, table = settings.aws(), settings.target.table
    examinations = [
        Examination("AWS", "identity", partial(check_identity, settings)),
        Examination("DynamoDB", "endpoint", partial(check_endpoint, settings)),
        Examination("DynamoDB", "table", partial(check_key_schema, access, table, mapping)),
        Examination("DynamoDB", "writing state", partial(check_writing_state, settings, mapping)),
        Examination("DynamoDB", "capacity", partial(check_capacity, access, table, settings.target.write_units_per_s)),
        Examination("DynamoDB", "point-in-time recovery", partial(check_recovery, access, table)),
        *export_examinations(settings),
        *hazard_examinations(settings, mapping),
        Examination("state", "writable", partial(check_state_is_writable, settings)),
    ]
    if settings.reports.signing_key is not None:
        examinations.append(
            Examination("KMS", "signing key", partial(check_signing_key, access, settings.reports.signing_key))
        )
    buckets = {"state": settings.state.url, "reports": settings.reports.url, "exports": settings.target.export_url}
    for purpose, url in buckets.items():
        place = urlsplit(url or "")
        if place.scheme == "s3":
            examinations.append(Examination("S3", f"bucket for {purpose}", partial(check_bucket, access, place.netloc)))
    return examinations


def check_identity(settings: Settings) -> tuple[Health, str, str]:
    """Account, region and role of the credentials. In prod also: whether the settings allow writing there."""
    access = settings.aws()
    found = caller(access)
    shown = f"account {found.account}, region {access.client('dynamodb').meta.region_name}, {found.arn}"
    guarded = settings.stage is Stage.PROD or settings.target.aws_account is not None
    fault = account_fault(settings, found.account) if guarded else None
    return (Health.FAIL, shown, fault) if fault else (Health.OK, shown, "")


def check_endpoint(settings: Settings) -> tuple[Health, str, str]:
    """Where requests to DynamoDB go, and whether they are encrypted."""
    access = settings.aws()
    url: str = access.client("dynamodb").meta.endpoint_url
    fault = endpoint_fault(access, settings.target.aws_account) if settings.stage is Stage.PROD else None
    if fault:
        return Health.FAIL, url, fault
    if not url.startswith("https:"):
        return Health.WARN, f"{url}, not encrypted", "this is an emulator: unset AWS_ENDPOINT_URL* to reach AWS"
    return Health.OK, url, ""


def check_key_schema(access: AwsAccess, table: str, mapping: TableMapping) -> tuple[Health, str, str]:
    """Whether the table exists and has the mapping's key; otherwise an error that says why."""
    found = describe(access, table, mapping)
    return Health.OK, f"{found.arn}, key {' and '.join(mapping.key_attributes)}", ""


def check_writing_state(settings: Settings, mapping: TableMapping) -> tuple[Health, str, str]:
    """Whether the table is marked as written by another state."""
    access = settings.aws()
    marked = read(access, describe(access, settings.target.table, mapping).arn)
    try:
        own = known_identity(stage_state(settings))
    except StateError as error:
        return Health.WARN, f"not known: {error}", "fix the state first, then run imgmig doctor again"
    state = own.id if own else None
    if marked.others(state):
        return Health.FAIL, marked.names_of_others(state), f"once no run of it is left: {marked.remedy(state)}"
    if marked.places is None:
        return Health.WARN, "not known: the server keeps no tags", "make sure that no other state writes to the table"
    return Health.OK, "this one" if marked.places else "none yet", ""


def check_capacity(access: AwsAccess, table: str, rate: float | None) -> tuple[Health, str, str]:
    """Billing mode and what the table takes at once, compared with the planned rate."""
    found = described(access, table)
    if found.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST":
        takes = int(found.get("WarmThroughput", {}).get("WriteUnitsPerSecond", _WARM_BY_DEFAULT))
        mode = f"on demand, warm for {takes:,} units/s"
        remedy = f"aws dynamodb update-table --table-name {table} --warm-throughput WriteUnitsPerSecond={rate or 0:.0f}"
    else:
        takes = int(found["ProvisionedThroughput"]["WriteCapacityUnits"])
        mode = f"provisioned, {takes:,} units/s"
        if rate is None:
            remedy = "a run without a ceiling takes the application's share: set write_units_per_s in [target]"
            return Health.WARN, f"{mode}; no ceiling", remedy
        remedy = f"provide {rate:,.0f} units/s and the application's, or lower write_units_per_s in [target]"
    if rate is None and takes <= _WARM_BY_DEFAULT:
        # Only throttling would show it: for the run and for the application.
        return (
            Health.WARN,
            f"{mode}, as a new table is; no ceiling",
            "set write_units_per_s in [target], to 2000 at most at first",
        )
    if rate is None:
        return Health.OK, f"{mode}; no ceiling: back-pressure slows a run down", ""
    shown = f"{mode}; planned are {rate:,.0f} units/s"
    return (Health.WARN, shown, remedy) if rate > takes else (Health.OK, shown, "")


def check_recovery(access: AwsAccess, table: str) -> tuple[Health, str, str]:
    """Whether the table can be restored to its state before a migration."""
    return (Health.OK, "on", "") if recovery_is_on(access, table) else (Health.WARN, "off", turn_on(table))


def check_state_is_writable(settings: Settings) -> tuple[Health, str, str]:
    """Write a file, read it again and delete it."""
    store = stage_state(settings)
    try:
        version = store.write(names.PROBE, b"written by imgmig doctor\n")
        found = store.read(names.PROBE)
        store.delete(names.PROBE)
    except StateUnavailable as error:
        if urlsplit(settings.state.url).scheme == "s3":
            raise
        # The operating system answered, so the place is reachable.
        return Health.FAIL, str(error), "make it a folder that this user alone can write, with space left"
    if found is None or found.version != version:
        raise StateUnavailable(f"{store.locate(names.PROBE)} did not come back as it was written")
    return Health.OK, settings.state.url, ""


def check_signing_key(access: AwsAccess, name: str) -> tuple[Health, str, str]:
    """Whether the key signs: one signature of empty content."""
    signed = SigningKey(access, name).sign(hashlib.sha256(b"").digest())
    return Health.OK, f"{signed.key}, {signed.algorithm}", ""


def check_bucket(access: AwsAccess, name: str) -> tuple[Health, str, str]:
    """Whether a bucket exists and the role can reach it."""
    client = access.client("s3")
    ask_aws(
        f"HeadBucket of {name}: check that it exists and that the role has s3:ListBucket",
        lambda: client.head_bucket(Bucket=name),
    )
    return Health.OK, name, ""


def picture_examination(access: AwsAccess, reader: SourceReader, picture: PictureColumns) -> Examination:
    """Examines the buckets that the rows name."""
    look = partial(check_picture_buckets, access, reader, picture)
    return Examination("S3", "buckets of pictures", look, asks_of="PostgreSQL")


def check_picture_buckets(access: AwsAccess, reader: SourceReader, picture: PictureColumns) -> tuple[Health, str, str]:
    """Whether the buckets that most rows name exist and the role can reach them.

    Only spot checks read them: without a bucket a migration still runs and is complete.
    """
    reached, refused = [], []
    for name, rows in reader.rows_per_bucket(picture, _PICTURE_BUCKETS).items():
        try:
            check_bucket(access, name)
            reached.append(f"{name} (rows: {rows:,})")
        except TargetRefused as error:
            refused.append(f"{error} (rows: {rows:,})")
    if refused:
        remedy = f"fix {picture.bucket} of those rows, or allow s3:ListBucket; a spot check misses their pictures"
        return Health.WARN, "; ".join(refused), remedy
    return Health.OK, ", ".join(reached) or "no row names one", ""
