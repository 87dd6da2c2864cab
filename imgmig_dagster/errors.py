"""Every error that imgmig raises on purpose.

::

    ImgmigError
    ├── SettingsError              a setting is missing or wrong                        exit 2
    │   └── WritesRefused          prod: not confirmed, or not the account and region    exit 2
    ├── SourceError
    │   ├── SourceRefused          no unique index, columns that do not fit, no right     exit 2
    │   │   ├── DoesNotFit         the table and its declaration                          exit 2
    │   │   ├── SessionRefused     a replica, another cluster, statement pooling          exit 2
    │   │   │   └── LoginRefused   password, role, database, pg_hba.conf                  exit 2
    │   │   └── UnreadableText     a value that has no form in UTF-8                      exit 2
    │   └── SourceUnavailable      PostgreSQL cannot be reached, is busy, or went away   exit 3, retryable
    ├── TargetError
    │   ├── TargetRefused          no such table, wrong key schema, access denied        exit 2
    │   └── TargetUnavailable      DynamoDB cannot be reached, or does not recover       exit 3, retryable
    ├── AwsUnusable                every request to AWS would fail, until a person acts  exit 3, retryable
    │   ├── CredentialsUnavailable expired, rotated, or a login is needed
    │   ├── TlsRefused             a certificate, or TLS as a whole
    │   ├── ProxyRefused           wrong credentials for it, or a host that it bars
    │   └── ClockWrong             signatures hold the time
    ├── StateError
    │   ├── CheckpointRefused      torn, altered, or of another table, mapping, window   exit 2
    │   ├── PartitionBusy          another run works on this partition                   exit 4
    │   ├── StateChanged           another writer replaced a file under us               exit 2
    │   └── StateUnavailable       the state store cannot be reached                     exit 3, retryable
    ├── SigningRefused             the key that signs certificates cannot be used       exit 2
    ├── SigningUnavailable         KMS cannot be reached, or fails                      exit 3, retryable
    ├── FilesUnavailable           a file or folder of this machine cannot be used       exit 3, retryable
    ├── ReviewRefused              a review of another sample (verification/review.py)  exit 2
    ├── CensusRefused              nothing may be deleted by it (verification/census_results.py)  exit 2
    ├── TooManyFailures            a pass stopped itself                                 exit 1
    ├── CertificateRefused         none, or an altered one (reporting/certificate_file.py)  exit 2
    ├── RunFailed                  an unexpected error                                   exit 1
    ├── InstanceUnavailable        Dagster's storage does not answer (local_runs/instance.py)  exit 3, retryable
    ├── AlertNotSent               the webhook did not take a message (defs/alerts.py)  exit 3, retryable
    ├── UiFailed                   Dagster's UI does not come up (cli/ui.py)            exit 3
    ├── Interrupted                Ctrl-C, or SIGTERM                                    exit 130
    ├── SeedError                  rows that cannot be loaded (sandbox/seed.py)          exit 2
    └── SandboxError               the local servers cannot be started or found          exit 3
        ├── LoadError              a file of SQL that does not load (sandbox/sql_files.py)  exit 2
        └── SandboxNotRunning      it was never started, or was stopped

``retryable`` says whether the same call, with the same settings, may succeed later; ``of_the_stage`` whether each
partition would meet it; ``exit_code`` is what the command line ends with. Messages name the stage, partition or key
range that they concern and end with what to do next. They carry no row's values.
"""

from collections.abc import Iterable


class ImgmigError(Exception):
    """Root of the tree; never raised itself."""

    exit_code = 2
    retryable = False
    of_the_stage = False

    @property
    def ends_all(self) -> bool:
        """Whether it ends the work on the other partitions too: they would meet it, or a service cannot be reached."""
        return self.retryable or self.of_the_stage


class SettingsError(ImgmigError):
    """A setting is missing or wrong; the message names it and the choices."""

    of_the_stage = True


class WritesRefused(SettingsError):
    """A run may not write in prod: not confirmed, an emulator's endpoint, or another account or region."""


class SourceError(ImgmigError):
    """PostgreSQL, or what was found in it."""


class SourceRefused(SourceError):
    """The source cannot be migrated safely as it is."""


class DoesNotFit(SourceRefused):
    """The table and its declaration do not go together; `columns` are the declared ones that it is about."""

    def __init__(self, message: str, columns: Iterable[str]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class SessionRefused(SourceRefused):
    """No safe session is possible: a replica, another cluster, statement pooling.

    Every other request to PostgreSQL would meet this too.
    """

    of_the_stage = True


class LoginRefused(SessionRefused):
    """The server refuses the login: the password, the role, the database, or by pg_hba.conf."""


class UnreadableText(SourceRefused):
    """A statement met text that has no form in UTF-8, or that the database's encoding cannot hold."""


class SourceUnavailable(SourceError):
    """PostgreSQL cannot be reached, is busy, or the connection was lost and did not come back.

    `again`: the same statement is worth another try within seconds.
    """

    exit_code = 3
    retryable = True

    def __init__(self, message: str, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


class TargetError(ImgmigError):
    """DynamoDB, or what was found in it."""


class TargetRefused(TargetError):
    """The target would not take any item: no such table, wrong key schema, access denied.

    `code` is the service's name of the error, where a request met it.
    """

    of_the_stage = True

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class TargetUnavailable(TargetError):
    """DynamoDB cannot be reached, or kept failing past the deadline."""

    exit_code = 3
    retryable = True


class AwsUnusable(ImgmigError):
    """No request to AWS can succeed from this machine as it is, to any service. Work that was begun resumes later.

    Retryable: the same call succeeds once a person has logged in or set the clock.
    """

    exit_code = 3
    retryable = True


class CredentialsUnavailable(AwsUnusable):
    """The credentials have ended or were rotated, and there are no new ones: somebody has to log in."""


class TlsRefused(AwsUnusable):
    """A certificate is refused, or TLS is not agreed on."""


class ProxyRefused(AwsUnusable):
    """A proxy between us and AWS lets no request through."""


class ClockWrong(AwsUnusable):
    """AWS refuses signatures because this machine's clock is wrong."""


class StateError(ImgmigError):
    """The state store: checkpoints, ledger, evidence."""


class CheckpointRefused(StateError):
    """A checkpoint that must not be believed; the message names the cause and how to start over."""


class PartitionBusy(StateError):
    """Another run holds this partition; the message says which."""

    exit_code = 4


class StateChanged(StateError):
    """A file is no longer the version that was read: another writer replaced it."""


class StateUnavailable(StateError):
    """The state store cannot be reached, or refuses."""

    exit_code = 3
    retryable = True


class SigningRefused(ImgmigError):
    """The key of KMS that signs certificates cannot be used. The certificate is kept, unsigned."""


class SigningUnavailable(ImgmigError):
    """KMS cannot be reached, or fails. The certificate is kept, unsigned."""

    exit_code = 3
    retryable = True


class FilesUnavailable(ImgmigError):
    """A file or folder on this machine cannot be used: no space, another owner, read-only."""

    exit_code = 3
    retryable = True


class TooManyFailures(ImgmigError):
    """So many rows failed that going on would hide a systematic fault."""

    exit_code = 1


class Interrupted(ImgmigError):
    """A person, or the system, stopped the command; the message says how to go on."""

    exit_code = 130


class RunFailed(ImgmigError):
    """An unexpected error ended a run, or a partition of it."""

    exit_code = 1


class SandboxError(ImgmigError):
    """The local servers cannot be started or found."""

    exit_code = 3


class SandboxNotRunning(SandboxError):
    """The sandbox of this folder was never started, was stopped, or was reset by hand."""
