"""How a census will read the table: by a scan, or from an export that needs recovery, permissions and a bucket."""

import json

from imgmig_dagster.doctor import export_checks
from imgmig_dagster.doctor.aws_checks import check_bucket
from imgmig_dagster.doctor.diagnosis import Diagnosis, Examination, Health, exit_code
from imgmig_dagster_tests.arrange import Migration, Target, access
from imgmig_dagster_tests.exports import ExportService
from imgmig_dagster_tests.fault_proxy import Call, FaultProxy, Forward, Reply, error

FOREVER = 10_000


def turn_recovery_on(target: Target) -> None:
    target.client.update_continuous_backups(
        TableName=target.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def found(target: Target, proxy: FaultProxy, url: str | None) -> Diagnosis:
    look = Examination("DynamoDB", "census", lambda: export_checks.check_census(access(proxy.url), target.name, url))
    return look.diagnose()


def holding(items: int, proxy: FaultProxy) -> None:
    """DynamoDB counts the items every six hours; nobody has that many here."""

    async def counted(call: Call, forward: Forward) -> Reply:
        reply = json.loads((await forward(call.body)).body)
        reply["Table"]["ItemCount"] = items
        return Reply(200, json.dumps(reply).encode())

    proxy.inject(counted, "DescribeTable", FOREVER)


def test_an_export_that_can_be_is_well_and_is_not_asked_for(migration: Migration, proxy: FaultProxy) -> None:
    service = ExportService(migration.target, proxy)
    turn_recovery_on(migration.target)

    look = found(migration.target, proxy, service.exports.url)

    assert (look.health, look.found[:30]) == (Health.OK, f"by an export to {service.exports.url}"[:30])
    assert service.asked == []
    assert check_bucket(service.exports.access, service.bucket)[0] is Health.OK
    assert service.keys() == [], "nothing was written"


def test_recovery_that_is_off_fails_with_what_to_type(migration: Migration, proxy: FaultProxy) -> None:
    service = ExportService(migration.target, proxy)

    off = found(migration.target, proxy, service.exports.url)

    assert (off.health, off.found) == (
        Health.FAIL,
        "by an export to S3, which needs point-in-time recovery: it is off",
    )
    assert off.remedy.startswith(f"aws dynamodb update-continuous-backups --table-name {migration.target.name} ")
    assert exit_code([off]) == 1


def test_a_role_that_may_not_describe_exports_fails(migration: Migration, proxy: FaultProxy) -> None:
    service = ExportService(migration.target, proxy)
    turn_recovery_on(migration.target)
    service.refusals["DescribeExport"] = error("AccessDeniedException")

    denied = found(migration.target, proxy, service.exports.url)

    assert (denied.health, exit_code([denied])) == (Health.FAIL, 1)
    assert denied.found == "AWS answered AccessDeniedException to DescribeExport (deploy/iam/exporter.json allows it)"
    assert denied.remedy


def test_a_url_of_no_bucket_fails_and_hides_no_other_look(migration: Migration, proxy: FaultProxy) -> None:
    for url in ("file:///tmp/exports", "s3:///prefix", "bucket/prefix"):
        wrong = found(migration.target, proxy, url)
        assert (wrong.health, wrong.closed) == (Health.FAIL, False)
        assert wrong.remedy == "set export_url = 's3://bucket/prefix' in [target]"


def test_a_large_table_with_recovery_is_offered_an_export(migration: Migration, proxy: FaultProxy) -> None:
    holding(300_000_000, proxy)

    assert found(migration.target, proxy, None).health is Health.OK, "no recovery, no export"
    turn_recovery_on(migration.target)
    offered = found(migration.target, proxy, None)

    assert (offered.health, offered.found) == (
        Health.WARN,
        "by a scan of some 300,000,000 items, which takes read units of each",
    )
    assert "set export_url in [target]" in offered.remedy


def test_a_small_table_is_scanned(migration: Migration, proxy: FaultProxy) -> None:
    turn_recovery_on(migration.target)
    holding(10_000_000, proxy)

    assert (found(migration.target, proxy, None).found, found(migration.target, proxy, None).remedy) == (
        "by a scan",
        "",
    )
