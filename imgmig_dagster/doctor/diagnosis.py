"""An examination and its diagnosis, and how several run so that one fault does not hide another.

The examinations are in `aws_checks`, `hazards`, `export_checks`, `session_checks` and `source_checks`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from botocore.exceptions import ParamValidationError

from imgmig_dagster.aws.access import BotoCoreError, ClientError
from imgmig_dagster.aws.aws_faults import may_pass
from imgmig_dagster.errors import (
    AwsUnusable,
    ImgmigError,
    SessionRefused,
    SettingsError,
    TargetRefused,
    TargetUnavailable,
)


class Health(str, Enum):
    """The outcome of an examination."""

    OK = "ok"
    WARN = "warn"
    """A migration runs, but slower or with a smaller safety net than it could."""
    FAIL = "fail"
    """A migration is refused, or would not be complete."""


# The default remedies: for a service that does not answer, and for one that refuses.
_REMEDIES: Final = {
    "PostgreSQL": (
        "check that the server runs, host and port of url in [source], and that no firewall blocks it",
        "fix what it says in PostgreSQL, url in [source], or `table` in the declaration",
    ),
    "Dagster": (
        "start the server of Dagster's storage, or fix the URL that dagster.yaml names",
        "fix DAGSTER_HOME, or the dagster.yaml in it: deploy/local/dagster.yaml and deploy/dagster.yaml are examples",
    ),
    "state": (
        "check the place it names (for a folder disk and owner, for S3 AWS_REGION and the network), or name another "
        "by url in [state]",
        "fix what it says of that place, or name another one by url in [state]",
    ),
}
_REMEDIES_OF_AWS: Final = (
    "check AWS_REGION, the network, and AWS_ENDPOINT_URL where it is set; then aws sts get-caller-identity",
    "check the name it says, and the role's policy: deploy/iam/ has one that is enough",
)
# For errors whose own text says what to type.
_AS_IT_SAYS: Final = "do as it says, then look again: imgmig doctor"


@dataclass(frozen=True)
class Diagnosis:
    """The result of one examination; its remedy is empty only where it is ok.

    `unreachable`: the service did not answer. `closed`: it refuses every request with these settings, so that every
    other examination would find the same. `not_looked_at` are the things that the same fault hid.
    """

    service: str
    thing: str
    health: Health
    found: str
    remedy: str = ""
    unreachable: bool = False
    closed: bool = False
    not_looked_at: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examination:
    """Examines one thing of a service. `look` may raise any of our errors, which is then the finding.

    `asks_of` is another service that must first say what to examine.
    """

    service: str
    thing: str
    look: Callable[[], tuple[Health, str, str]]
    asks_of: str = ""

    def diagnose(self) -> Diagnosis:
        """Examine it. Never raises one of our errors."""
        try:
            health, found, remedy = self.look()
        except ImgmigError as error:
            away, refused = _REMEDIES.get(self.service, _REMEDIES_OF_AWS)
            remedy = away if error.retryable else refused
            if isinstance(error, (AwsUnusable, SettingsError)):
                remedy = _AS_IT_SAYS
            closed = isinstance(error, (SessionRefused, SettingsError))
            return Diagnosis(self.service, self.thing, Health.FAIL, str(error), remedy, error.retryable, closed)
        if health is not Health.OK and not remedy:
            remedy = _REMEDIES.get(self.service, _REMEDIES_OF_AWS)[1]
        return Diagnosis(self.service, self.thing, health, found, remedy)


def examine(examinations: Iterable[Examination]) -> list[Diagnosis]:
    """Every finding, in order, each fault once. Of a service that refuses everything: the first finding only."""
    found: list[Diagnosis] = []
    away: set[str] = set()
    for examination in examinations:
        if away.isdisjoint((examination.service, examination.asks_of)):
            one = examination.diagnose()
            for place, earlier in enumerate(found):
                if (earlier.service, earlier.health, earlier.found) == (one.service, Health.FAIL, one.found):
                    found[place] = replace(earlier, not_looked_at=(*earlier.not_looked_at, one.thing))
                    break
            else:
                found.append(one)
            if found[-1].unreachable or found[-1].closed:
                away.add(examination.service)
    return found


def exit_code(found: Iterable[Diagnosis]) -> int:
    """0 where nothing failed; 3 where a service cannot be reached; otherwise 1."""
    failed = [each for each in found if each.health is Health.FAIL]
    return 3 if any(each.unreachable for each in failed) else 1 if failed else 0


def ask_aws(what: str, call: Callable[[], Any]) -> Any:
    """Call botocore and translate its errors into ours.

    Raises:
        TargetRefused: AWS refused, or a name in the call is not well-formed.
        TargetUnavailable: AWS cannot be reached, or fails.
    """
    try:
        return call()
    except ClientError as error:
        refusal = TargetUnavailable if may_pass(error) else TargetRefused
        raise refusal(f"AWS answered {error.response['Error']['Code']} to {what}") from None
    except ParamValidationError:
        raise TargetRefused(f"AWS allows no such name in {what}") from None
    except BotoCoreError as error:
        raise TargetUnavailable(f"AWS cannot be reached for {what}: {type(error).__name__}") from None
