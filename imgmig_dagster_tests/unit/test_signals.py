"""What a command hears of SIGINT and SIGTERM."""

import os
import signal
from collections.abc import Iterator

import pytest

from imgmig_dagster.local_runs.signals import Signals, terminated_like_ctrl_c


@pytest.fixture
def swallowed() -> Iterator[None]:
    """Both signals have handlers that do nothing, as Dagster's do between two steps."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("swallowed")
def test_sigterm_is_as_good_as_ctrl_c_while_the_context_lasts() -> None:
    with pytest.raises(KeyboardInterrupt), terminated_like_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("swallowed")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_others_swallow_is_noted_for_good(number: signal.Signals) -> None:
    with Signals() as signals:
        assert not signals.arrived()
        os.kill(os.getpid(), number)
        assert signals.arrived()
        assert signals.arrived(), "whoever asks next has to know too"


@pytest.mark.usefixtures("swallowed")
def test_other_signals_are_no_interruption() -> None:
    previous = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not signals.arrived()
    finally:
        signal.signal(signal.SIGUSR1, previous)
