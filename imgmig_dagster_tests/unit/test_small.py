"""Windows, retries, concurrency and the tree of errors."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmig_dagster import errors
from imgmig_dagster.concurrency import gather, in_thread
from imgmig_dagster.doctor.diagnosis import Examination, Health
from imgmig_dagster.errors import SourceUnavailable, TargetRefused
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.window import from_microseconds, to_microseconds
from imgmig_dagster_tests.arrange import MARCH
from imgmig_dagster_tests.unit.mapping.rows import YEAR_1, YEAR_10000


class TestWindow:
    @given(st.integers(YEAR_1, YEAR_10000 - 1))
    def test_microseconds_go_there_and_back_exactly(self, timestamp_us: int) -> None:
        assert to_microseconds(from_microseconds(timestamp_us)) == timestamp_us

    @pytest.mark.parametrize("timestamp_us", [YEAR_1 - 1, YEAR_10000, 2**63 - 1, -(2**63)])
    def test_what_no_datetime_can_hold_is_an_error(self, timestamp_us: int) -> None:
        with pytest.raises(OverflowError):
            from_microseconds(timestamp_us)

    def test_a_window_is_described_by_both_ends(self) -> None:
        assert MARCH.describe() == "[2024-03-01T00:00:00+00:00, 2024-04-01T00:00:00+00:00)"
        assert MARCH.end == datetime(2024, 4, 1, tzinfo=timezone.utc)


class TestRetryPolicy:
    def test_the_delays_are_100_200_and_400_milliseconds_plus_jitter(self) -> None:
        least, most = RetryPolicy(random=lambda: 0.0), RetryPolicy(random=lambda: 1.0)

        assert least.attempts == 4
        assert [least.delay(retry) for retry in range(4)] == [0.1, 0.2, 0.4, 0.4]
        assert [most.delay(retry) for retry in range(3)] == pytest.approx([0.15, 0.3, 0.6])


class TestGather:
    def test_results_come_in_order(self) -> None:
        async def piece(number: int) -> int:
            await asyncio.sleep(0)
            return number

        assert asyncio.run(gather(piece(number) for number in range(5))) == [0, 1, 2, 3, 4]

    async def test_when_one_piece_fails_the_others_are_ended_before_its_error_is_raised(self) -> None:
        ended = list[str]()

        async def wait_for_ever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("waiting")

        async def fail() -> None:
            await asyncio.sleep(0)
            raise RuntimeError("one failed")

        with pytest.raises(RuntimeError, match="one failed"):
            await gather([wait_for_ever(), fail(), wait_for_ever()])
        assert ended == ["waiting", "waiting"]


class TestErrors:
    TREE = tuple(
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.ImgmigError)
    )

    @pytest.mark.parametrize("error", TREE)
    def test_every_error_is_drawn_in_the_docstring(self, error: type[errors.ImgmigError]) -> None:
        assert errors.__doc__ is not None
        assert error.__name__ in errors.__doc__

    @pytest.mark.parametrize("error", TREE[1:])
    def test_the_drawn_exit_code_and_whether_it_is_retryable_are_the_real_ones(
        self, error: type[errors.ImgmigError]
    ) -> None:
        assert errors.__doc__ is not None
        (line,) = [line for line in errors.__doc__.splitlines() if f"─ {error.__name__} " in f"{line} "]
        if "exit" in line:
            assert f"exit {error.exit_code}" in line
            assert ("retryable" in line) is error.retryable


@pytest.mark.parametrize("service", ["PostgreSQL", "Dagster", "DynamoDB"])
def test_whatever_the_doctor_finds_wrong_has_a_remedy(service: str) -> None:
    def refused() -> tuple[Health, str, str]:
        raise TargetRefused("no")

    def away() -> tuple[Health, str, str]:
        raise SourceUnavailable("away")

    looks = [refused, away, lambda: (Health.WARN, "odd", ""), lambda: (Health.FAIL, "wrong", "")]

    found = [Examination(service, "thing", look).diagnose() for look in looks]

    assert all(each.remedy for each in found)


class TestInThread:
    async def test_what_is_entered_while_the_task_is_cancelled_is_left_again(self) -> None:
        entering, go_on, events = threading.Event(), threading.Event(), list[str]()

        @contextmanager
        def slow() -> Iterator[None]:
            entering.set()
            assert go_on.wait(10)
            events.append("entered")
            yield
            events.append("never")

        async def hold() -> None:
            async with in_thread(slow()):
                raise AssertionError("the task was cancelled before")

        task = asyncio.create_task(hold())
        await asyncio.to_thread(entering.wait, 10)
        task.cancel()
        asyncio.get_running_loop().call_later(0, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        events.append("ended")

        assert events == ["entered", "ended"], "left by the cancellation, before the task ended"

    async def test_an_error_passes_through_the_context(self) -> None:
        left = list[str]()

        @contextmanager
        def noting() -> Iterator[None]:
            try:
                yield
            except ValueError:
                left.append("by an error")
                raise

        with pytest.raises(ValueError, match="inside"):
            async with in_thread(noting()):
                raise ValueError("inside")
        assert left == ["by an error"]
