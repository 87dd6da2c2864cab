"""A running migration obeys what is asked for in the state store."""

import time
from concurrent.futures import ThreadPoolExecutor

from imgmig_dagster.state.throttle import change_throttle, read_throttle
from imgmig_dagster_tests.arrange import Migration, image
from imgmig_dagster_tests.fault_proxy import FaultProxy


def test_a_paused_stage_writes_nothing_until_it_is_resumed(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(50))
    change_throttle(migration.state, paused=True)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(migration.migrate, proxy.url)
        while migration.checkpoint is None:  # the pass has begun
            time.sleep(0.02)
        time.sleep(0.3)
        written_while_paused = len(proxy.writes)
        change_throttle(migration.state, paused=False)
        result = running.result(timeout=300)

    assert written_while_paused == 0
    assert result.outcomes == {"inserted": 50}


def test_changing_the_rate_leaves_a_pause_as_it_is(migration: Migration) -> None:
    change_throttle(migration.state, paused=True)

    assert change_throttle(migration.state, rate=200.0) == read_throttle(migration.state)
    assert read_throttle(migration.state).paused
    assert change_throttle(migration.state, rate=None).rate is None
