"""What each error of DynamoDB and of the network means for the migration. `sender` retries by this table."""

from enum import Enum
from typing import Final

from imgmig_dagster.aws.aws_faults import REFUSED_CREDENTIALS


class TargetFault(Enum):
    """What to do about a failed request."""

    BACK_PRESSURE = "slow the writer down and send again; uses up no retry"
    TRANSIENT = "send again, three times at most"
    REFRESH = "reload the credentials and send again"
    SIGN_AGAIN = "the time in the signature was refused: sign again and send again, once"
    REJECT = "these items can never be written as they are"
    CONDITION = "a condition did not hold: somebody else wrote this item"
    STOP = "no request can succeed: end the run"


FAULTS: Final[dict[str, TargetFault]] = {
    "ProvisionedThroughputExceededException": TargetFault.BACK_PRESSURE,
    **dict.fromkeys(("ThrottlingException", "ThrottledException", "Throttling"), TargetFault.BACK_PRESSURE),
    "TooManyRequestsException": TargetFault.BACK_PRESSURE,
    "RequestLimitExceeded": TargetFault.BACK_PRESSURE,
    "LimitExceededException": TargetFault.BACK_PRESSURE,
    "InternalServerError": TargetFault.TRANSIENT,
    "ServiceUnavailable": TargetFault.TRANSIENT,
    **dict.fromkeys(("RequestTimeout", "RequestTimeoutException"), TargetFault.TRANSIENT),  # with 400, as of S3
    "TransactionConflictException": TargetFault.TRANSIENT,
    "ReplicatedWriteConflictException": TargetFault.TRANSIENT,
    "ConnectionFailed": TargetFault.TRANSIENT,
    "ProxyUnreachable": TargetFault.TRANSIENT,
    "TruncatedReply": TargetFault.TRANSIENT,
    "DamagedReply": TargetFault.TRANSIENT,
    "StrayReply": TargetFault.TRANSIENT,
    **dict.fromkeys(REFUSED_CREDENTIALS, TargetFault.REFRESH),
    "ConditionalCheckFailedException": TargetFault.CONDITION,
    "ValidationException": TargetFault.REJECT,
    "ItemCollectionSizeLimitExceededException": TargetFault.REJECT,
    "AccessDeniedException": TargetFault.STOP,
    "InvalidSignatureException": TargetFault.STOP,
    "MissingAuthenticationTokenException": TargetFault.STOP,
    "IncompleteSignatureException": TargetFault.STOP,
    "ResourceNotFoundException": TargetFault.STOP,
    "UnknownOperationException": TargetFault.STOP,
    "SerializationException": TargetFault.STOP,
}

# For these codes one statement of a batch is refused. PutItem judges all others, since it names them in full.
STATEMENT_FAULTS: Final[dict[str, TargetFault]] = {
    **dict.fromkeys(("DuplicateItem", "ConditionalCheckFailed"), TargetFault.CONDITION),
    **dict.fromkeys(
        ("ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"), TargetFault.BACK_PRESSURE
    ),
    **dict.fromkeys(("InternalServerError", "TransactionConflict"), TargetFault.TRANSIENT),
    **dict.fromkeys(("ValidationError", "ItemCollectionSizeLimitExceeded"), TargetFault.REJECT),
    **dict.fromkeys(("AccessDenied", "ResourceNotFound"), TargetFault.STOP),
}


def classify(code: str, status: int) -> TargetFault:
    """The fault for an error's code and its HTTP status (0 if no reply came).

    A code that the table does not know is transient on a 5xx or a 408, and back-pressure on a 429, which a gateway
    sends. On anything else it stops the run: guessing that an item is bad, or that a retry helps, would hide what
    happened. A request that is too large (413) is the exception: a part of it may be small enough.
    """
    known = FAULTS.get(code)
    if known is not None:
        return known
    if status == 413:
        return TargetFault.REJECT
    if status == 429:
        return TargetFault.BACK_PRESSURE
    return TargetFault.TRANSIENT if status >= 500 or status == 408 else TargetFault.STOP
