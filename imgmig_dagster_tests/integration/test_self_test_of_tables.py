"""The self-test on a table of one's own: corruptions of every type, in copies of its rows."""

import pytest

from imgmig_dagster.errors import SandboxError
from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.self_test.run import run_self_test
from imgmig_dagster_tests.conftest import NewSource, Services
from imgmig_dagster_tests.goods import make_goods


@pytest.mark.parametrize("seed", [1, 2])
def test_every_corruption_of_every_type_is_named_and_nothing_else(
    services: Services, new_source: NewSource, seed: int
) -> None:
    goods = make_goods(services.owner, new_source())
    goods.execute("INSERT INTO {t} (tenant, no, title, placed) VALUES ('south', 2, '', '2024-03-04')")
    # No item can hold its ratio: it is rejected, and no part of the test.
    goods.execute("INSERT INTO {t} (tenant, no, title, placed, ratio) VALUES ('west', 3, '', '2024-03-04', 'NaN')")

    found = run_self_test(services.sandbox, seed, 600, goods.mapping)

    assert (found.judgement.missed, found.judgement.false) == ((), ())
    assert found.passed
    assert {field.type for field in goods.mapping.fields} == set(FieldType)
    planted = {kind.kind: kind.planted for kind in found.judgement.kinds if kind.harmful}
    assert sum(planted.values()) == 600
    assert {"wrong value inside", "list reordered", "element added", "another length", "not translated"} <= set(planted)
    assert {"off by 1 day", "off by one", "another unit", "off by 1 second", "orphan added"} <= set(planted)
    schemas = services.owner.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'scratch%'").fetchone()
    assert schemas == (0,)


def test_a_table_without_a_row_that_can_be_migrated_is_told(services: Services, new_source: NewSource) -> None:
    goods = make_goods(services.owner, new_source())
    goods.execute("DELETE FROM {t}")

    with pytest.raises(SandboxError, match=r"no row to work with: .*\.goods holds none"):
        run_self_test(services.sandbox, 1, 100, goods.mapping)
