"""Collects outcomes while rows are worked on: exactly one for each row, and a ledger entry if it is not written.

`migration_result` names the outcomes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from imgmig_dagster.mapping.transform import Rejection
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.steps.migration_result import Outcome
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.sender import RetriesUsedUpError


class KeepsChangingError(Exception):
    """Row and item changed at every look."""


class OutcomeRecord:
    """The outcome of each row so far."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._failures: dict[str, Failure] = {}

    @property
    def failures(self) -> list[Failure]:
        """An entry for each row that was rejected or failed."""
        return list(self._failures.values())

    def reject(self, rejection: Rejection, value: str | None = None) -> None:
        """The row can never be written as it is."""
        self.outcomes[rejection.row_id] = Outcome.REJECTED
        self._failures[rejection.row_id] = Failure(
            rejection.row_id, rejection.field, rejection.code, rejection.reason, permanent=True, value=value
        )

    def fail(self, row_id: str, code: str, reason: str, outcome: Outcome = Outcome.FAILED) -> None:
        """Nothing was done about the row; a retry takes it up."""
        self.outcomes[row_id] = outcome
        self._failures[row_id] = Failure(row_id, None, code, reason, permanent=False)

    def take(self, outcomes: Mapping[str, Outcome], failures: Sequence[Failure]) -> None:
        """Outcomes from elsewhere, which replace what was known of these rows."""
        self.outcomes.update(outcomes)
        for row_id in outcomes:
            self._failures.pop(row_id, None)
        self._failures.update((failure.row_id, failure) for failure in failures)

    @contextmanager
    def faults_of(self, row_id: str) -> Iterator[None]:
        """What is wrong with one item costs that item alone. Errors that end the run pass through."""
        try:
            yield
        except RetriesUsedUpError as error:
            self.fail(row_id, error.code, "retries used up")
        except KeepsChangingError:
            self.fail(row_id, "NeverSettled", "row and item changed at every look; try again")
        except DynamoDBError as error:
            self.reject(Rejection(row_id, None, error.code, "DynamoDB rejected the item"))
