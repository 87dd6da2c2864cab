"""What each error of DynamoDB and of the network means for the migration: one table, one owner of retries."""

from enum import Enum
from typing import Final

from imgmig_dagster.aws_faults import REFUSED_CREDENTIALS


class Fault(Enum):
    """What to do about a failed request."""

    BACK_PRESSURE = "slow the writer down and send again; uses up no retry"
    TRANSIENT = "send again, three times at most"
    REFRESH = "load the credentials anew and send again"
    SIGN_ANEW = "the time in the signature was refused: sign anew and send again, once"
    REJECT = "these items can never be written as they are"
    CONDITION = "a condition did not hold: somebody else wrote this item"
    STOP = "no request can succeed: end the run"


FAULTS: Final[dict[str, Fault]] = {
    "ProvisionedThroughputExceededException": Fault.BACK_PRESSURE,
    **dict.fromkeys(("ThrottlingException", "ThrottledException", "Throttling"), Fault.BACK_PRESSURE),
    "TooManyRequestsException": Fault.BACK_PRESSURE,
    "RequestLimitExceeded": Fault.BACK_PRESSURE,
    "LimitExceededException": Fault.BACK_PRESSURE,
    "InternalServerError": Fault.TRANSIENT,
    "ServiceUnavailable": Fault.TRANSIENT,
    **dict.fromkeys(("RequestTimeout", "RequestTimeoutException"), Fault.TRANSIENT),  # with 400, as of S3
    "TransactionConflictException": Fault.TRANSIENT,
    "ReplicatedWriteConflictException": Fault.TRANSIENT,
    "ConnectionFailed": Fault.TRANSIENT,
    "ProxyUnreachable": Fault.TRANSIENT,
    "TruncatedReply": Fault.TRANSIENT,
    "DamagedReply": Fault.TRANSIENT,
    **dict.fromkeys(REFUSED_CREDENTIALS, Fault.REFRESH),
    "ConditionalCheckFailedException": Fault.CONDITION,
    "ValidationException": Fault.REJECT,
    "ItemCollectionSizeLimitExceededException": Fault.REJECT,
    "AccessDeniedException": Fault.STOP,
    "InvalidSignatureException": Fault.STOP,
    "MissingAuthenticationTokenException": Fault.STOP,
    "IncompleteSignatureException": Fault.STOP,
    "ResourceNotFoundException": Fault.STOP,
    "UnknownOperationException": Fault.STOP,
    "SerializationException": Fault.STOP,
}

# By which one statement of a batch is refused. What is none of these is PutItem's to judge, which names it in full.
STATEMENT_FAULTS: Final[dict[str, Fault]] = {
    **dict.fromkeys(("DuplicateItem", "ConditionalCheckFailed"), Fault.CONDITION),
    **dict.fromkeys(("ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"), Fault.BACK_PRESSURE),
    **dict.fromkeys(("InternalServerError", "TransactionConflict"), Fault.TRANSIENT),
    **dict.fromkeys(("ValidationError", "ItemCollectionSizeLimitExceeded"), Fault.REJECT),
    **dict.fromkeys(("AccessDenied", "ResourceNotFound"), Fault.STOP),
}


def classify(code: str, status: int) -> Fault:
    """The fault behind an error's code and its HTTP status (0 where no reply came).

    A code that the table does not know is transient on a 5xx or a 408, back-pressure on a 429, which a gateway in
    between sends, and stops the run on anything else: guessing that an item is bad, or that a retry helps, would hide
    what happened. A request that is too large (413) is the exception: a part of it may be small enough.
    """
    known = FAULTS.get(code)
    if known is not None:
        return known
    if status == 413:
        return Fault.REJECT
    if status == 429:
        return Fault.BACK_PRESSURE
    return Fault.TRANSIENT if status >= 500 or status == 408 else Fault.STOP
