"""Credentials that a whole process shares: botocore finds them, this module renews them or says why it cannot."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

from botocore import exceptions
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from imgmig_dagster.aws.aws_faults import may_pass
from imgmig_dagster.errors import CredentialsUnavailable, ImgmigError, SettingsError
from imgmig_dagster.retry import RetryPolicy

# botocore begins to ask for new ones this long before the old ones end; for short ones, after half their life.
_AHEAD_S: Final = 15 * 60
# While the old ones are valid, ask a source that has nothing new only after this time again.
_PAUSE_S: Final = 30.0
_SETTINGS_AT_FAULT: Final = (
    exceptions.ProfileNotFound,
    exceptions.ConfigNotFound,
    exceptions.ConfigParseError,
    exceptions.InvalidConfigError,
    exceptions.PartialCredentialsError,
    exceptions.InfiniteLoopConfigError,
    exceptions.UnknownCredentialError,
    exceptions.MissingDependencyException,
)
# A person has to log in; another try would fail the same way.
_LOGIN_NEEDED: Final = (
    exceptions.SSOError,
    exceptions.LoginError,
    exceptions.TokenRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.RefreshWithMFAUnsupportedError,
)


class SharedCredentials(Credentials):
    """What botocore's clients and ours sign with. Safe for threads; a caller may have to wait for their source.

    `find` begins botocore's chain from its start. The source is asked when it is first needed, before the credentials
    end, and when AWS refuses them; a source that fails for a moment is asked again.
    """

    method = "shared"

    def __init__(
        self,
        find: Callable[[], Credentials | None],
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._retry = retry or RetryPolicy(delays=(0.5, 1.0, 2.0))
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._found: Credentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._ahead = _AHEAD_S
        self._not_before = 0.0

    @property
    def in_hand(self) -> ReadOnlyCredentials | None:
        """The last ones found; None if there are none yet, or they have ended. Never waits."""
        return None if self._have_ended else self._frozen

    @property
    def are_due(self) -> bool:
        """Whether `get_frozen_credentials` would ask for new ones. Never waits."""
        return self._have_ended or (self._end_within(self._ahead) and self._clock() >= self._not_before)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """botocore's name: the credentials to sign a request with.

        Raises:
            CredentialsUnavailable: they have ended, and there are no new ones.
            SettingsError: there are none, or their configuration is wrong.
        """
        frozen = self._frozen
        if frozen is not None and not self.are_due:
            return frozen
        with self._lock:
            return self._renew() if self._frozen is None or self.are_due else self._frozen

    def replace(self, refused: str) -> bool:
        """Find them again after AWS refused that access key; False if the same ones are found.

        Raises:
            CredentialsUnavailable, SettingsError: as for `get_frozen_credentials`.
        """
        with self._lock:
            before = self._frozen
            if before is not None and before.access_key != refused:
                return True  # another thread was refused too, and has found others
            self._forget()
            return self._renew() != before

    def __getattr__(self, name: str) -> Any:
        # botocore reads single attributes, for an account's own endpoint.
        if name in ReadOnlyCredentials._fields:
            return getattr(self.get_frozen_credentials(), name)
        raise AttributeError(name)

    @property
    def _have_ended(self) -> bool:
        return self._frozen is None or self._end_within(0)

    def _end_within(self, seconds: int) -> bool:
        found = self._found
        return isinstance(found, RefreshableCredentials) and found.refresh_needed(seconds)

    def _renew(self) -> ReadOnlyCredentials:
        held = self.in_hand
        try:
            frozen = self._ask()
        except ImgmigError:
            if held is None:
                # A try after a login begins with the chain: some sources never work again after a failure.
                self._forget()
                raise
            frozen = held
        self._frozen = frozen
        self._not_before = self._clock() + _PAUSE_S
        ends: datetime | None = getattr(self._found, "_expiry_time", None)
        if ends is not None and frozen != held:
            self._ahead = min(_AHEAD_S, int((ends - datetime.now(tz=timezone.utc)).total_seconds() / 2))
        return frozen

    def _ask(self) -> ReadOnlyCredentials:
        found, retry = self._found, 0
        while True:
            refreshes = found is not None
            try:
                found = found or self._find()
                if found is None:
                    raise SettingsError(
                        "no AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret, or use "
                        "the role of the machine"
                    )
                frozen = (None if refreshes else _at_hand(found)) or found.get_frozen_credentials()
            except ImgmigError:
                raise
            except Exception as error:  # a process, a file, a service: each source fails in its own way
                found, passes = None, _may_pass(error)
                if refreshes and not passes and not isinstance(error, _LOGIN_NEEDED):
                    continue  # its own keys may have been rotated: the chain reads them again
                if not passes or retry >= len(self._retry.delays):
                    raise _named(error) from None
            else:
                self._found = found
                return frozen
            self._sleep(self._retry.delay(retry))
            retry += 1

    def _forget(self) -> None:
        self._found = self._frozen = None


def _at_hand(found: Credentials) -> ReadOnlyCredentials | None:
    """The values that new credentials already hold: asking for them would renew short-lived ones at once."""
    if not isinstance(found, RefreshableCredentials) or found.refresh_needed(0):
        return None
    held: ReadOnlyCredentials | None = getattr(found, "_frozen_credentials", None)
    return held


def _may_pass(error: Exception) -> bool:
    if isinstance(error, ClientError):
        return may_pass(error)
    return isinstance(error, BotoCoreError) and not isinstance(error, (*_SETTINGS_AT_FAULT, *_LOGIN_NEEDED))


def _named(error: Exception) -> ImgmigError:
    if isinstance(error, _SETTINGS_AT_FAULT):
        return SettingsError(f"AWS credentials: {error}. Fix AWS_PROFILE or the files of ~/.aws")
    cause = type(error).__name__
    if isinstance(error, RuntimeError):
        # botocore says this of credentials that have already ended: a program's old answer, or a clock that is ahead.
        cause = "the new ones have already ended by this machine's clock: check the clock (NTP)"
    if isinstance(error, ClientError):
        cause = f"{error.response['Error']['Code']} to {error.operation_name}"
    # An error's text can hold what a process printed.
    return CredentialsUnavailable(
        f"no AWS credentials could be found ({cause}): log in again, and give the same command: it resumes"
    )


__all__ = ["SharedCredentials"]
