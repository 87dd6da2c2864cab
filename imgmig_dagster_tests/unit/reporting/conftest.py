from pathlib import Path

import pytest

from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.unit.reporting.stage_state import MARCH, StageState


@pytest.fixture
def state(tmp_path: Path) -> StageState:
    """A stage of which nothing is known yet."""
    return StageState(LocalStateStore(tmp_path / "staging"))


@pytest.fixture
def passed(state: StageState) -> StageState:
    """March of a hundred rows, migrated, verified and counted."""
    state.clean(MARCH, 100)
    state.census()
    return state
