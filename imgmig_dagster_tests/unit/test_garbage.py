"""What Python does not look through for garbage."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from imgmig_dagster.garbage import fewer_collections, kept_for_good

_AT_EXIT = (
    "import atexit, gc\n"
    "atexit.register(lambda: print(gc.isenabled(), len(gc.get_objects()) < gc.get_freeze_count()))\n"
    "from imgmig_dagster.cli import main; main()"
)


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_made_for_good_is_never_searched() -> None:
    with kept_for_good():
        assert not gc.isenabled()
        made: list[object] = []
        made.append(made)
    assert gc.isenabled()
    assert all(each is not made for each in gc.get_objects())


def test_a_failure_leaves_the_collector_as_it_was() -> None:
    def fail() -> None:
        raise LookupError

    thresholds = gc.get_threshold()
    for context in (kept_for_good, fewer_collections):
        with pytest.raises(LookupError), context():
            fail()
    assert gc.isenabled()
    assert gc.get_threshold() == thresholds


def test_a_command_ends_without_a_search_through_what_it_imported() -> None:
    done = subprocess.run([sys.executable, "-c", _AT_EXIT, "--help"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "True True"
