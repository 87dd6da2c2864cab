"""What each error means, and that an unknown one is never taken for an item's fault."""

import pytest

from imgmig_dagster.target.faults import Fault, classify


@pytest.mark.parametrize(
    ("code", "status", "fault"),
    [
        ("ProvisionedThroughputExceededException", 400, Fault.BACK_PRESSURE),
        ("ThrottlingException", 400, Fault.BACK_PRESSURE),
        ("RequestLimitExceeded", 400, Fault.BACK_PRESSURE),
        ("UnreadableReply", 429, Fault.BACK_PRESSURE),
        ("TooManyRequestsException", 400, Fault.BACK_PRESSURE),
        ("RequestTimeoutException", 400, Fault.TRANSIENT),
        ("InternalServerError", 500, Fault.TRANSIENT),
        ("ServiceUnavailable", 503, Fault.TRANSIENT),
        ("ConnectionFailed", 0, Fault.TRANSIENT),
        ("TruncatedReply", 200, Fault.TRANSIENT),
        ("UnreadableReply", 502, Fault.TRANSIENT),
        ("NeverHeardOf", 500, Fault.TRANSIENT),
        ("NeverHeardOf", 400, Fault.STOP),
        ("UnreadableReply", 403, Fault.STOP),
        ("ExpiredTokenException", 400, Fault.REFRESH),
        ("ValidationException", 400, Fault.REJECT),
        ("ItemCollectionSizeLimitExceededException", 400, Fault.REJECT),
        ("ConditionalCheckFailedException", 400, Fault.CONDITION),
        ("AccessDeniedException", 400, Fault.STOP),
        ("ResourceNotFoundException", 400, Fault.STOP),
        ("UnrecognizedClientException", 400, Fault.REFRESH),
    ],
)
def test_an_error_has_one_meaning(code: str, status: int, fault: Fault) -> None:
    assert classify(code, status) is fault
