"""What each error means, and that an unknown one is never taken for an item's fault."""

import pytest

from imgmig_dagster.target.faults import TargetFault, classify


@pytest.mark.parametrize(
    ("code", "status", "fault"),
    [
        ("ProvisionedThroughputExceededException", 400, TargetFault.BACK_PRESSURE),
        ("ThrottlingException", 400, TargetFault.BACK_PRESSURE),
        ("RequestLimitExceeded", 400, TargetFault.BACK_PRESSURE),
        ("UnreadableReply", 429, TargetFault.BACK_PRESSURE),
        ("TooManyRequestsException", 400, TargetFault.BACK_PRESSURE),
        ("RequestTimeoutException", 400, TargetFault.TRANSIENT),
        ("InternalServerError", 500, TargetFault.TRANSIENT),
        ("ServiceUnavailable", 503, TargetFault.TRANSIENT),
        ("ConnectionFailed", 0, TargetFault.TRANSIENT),
        ("TruncatedReply", 200, TargetFault.TRANSIENT),
        ("UnreadableReply", 502, TargetFault.TRANSIENT),
        ("NeverHeardOf", 500, TargetFault.TRANSIENT),
        ("NeverHeardOf", 400, TargetFault.STOP),
        ("UnreadableReply", 403, TargetFault.STOP),
        ("ExpiredTokenException", 400, TargetFault.REFRESH),
        ("ValidationException", 400, TargetFault.REJECT),
        ("ItemCollectionSizeLimitExceededException", 400, TargetFault.REJECT),
        ("ConditionalCheckFailedException", 400, TargetFault.CONDITION),
        ("AccessDeniedException", 400, TargetFault.STOP),
        ("ResourceNotFoundException", 400, TargetFault.STOP),
        ("UnrecognizedClientException", 400, TargetFault.REFRESH),
    ],
)
def test_an_error_has_one_meaning(code: str, status: int, fault: TargetFault) -> None:
    assert classify(code, status) is fault
