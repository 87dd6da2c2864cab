"""Reads the source's URL from AWS Secrets Manager, so that no file and no variable holds its password."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from botocore.exceptions import ParamValidationError

from imgmig_dagster.aws.access import AwsAccess, BotoCoreError, ClientError
from imgmig_dagster.aws.aws_faults import may_pass
from imgmig_dagster.errors import SettingsError, SourceUnavailable


@dataclass(frozen=True)
class SourceSecret:
    """A secret by its name or ARN, of one of three kinds.

    It is a libpq URL; or JSON as Amazon RDS keeps and rotates it (`host`, `port`, `dbname`, `username`, `password`), of
    which the URL asks for `verify-full`; or, of a master user that RDS manages, JSON with `username` and `password`
    alone. `place` then is the URL of the rest, without user and password.
    """

    access: AwsAccess
    name: str
    place: str | None = field(default=None, repr=False)

    def url(self) -> str:
        """The libpq URL, with the current password.

        Raises:
            SettingsError: the secret may not be read, or does not fit; the message shows nothing of it.
            SourceUnavailable: AWS Secrets Manager cannot be reached, or fails.
            AwsUnusable: there are no credentials to read it with.
        """
        if self.place and _says_who(self.place):
            raise SettingsError(
                "url beside secret in [source] says where the database is, without user and password: "
                "these are the secret's. Remove them from the URL, or unset one of both"
            )
        held = self._read()
        try:
            fields = json.loads(held) if held.lstrip().startswith("{") else None
            if fields is None and self.place is None:
                return held.strip()
            if fields is not None:
                return _placed(fields, self.place) if self.place else _url(fields)
        except (ValueError, KeyError, TypeError):
            pass
        wanted = (
            "url in [source] is set beside it, so it has to be JSON with username and password"
            if self.place
            else "it is neither a libpq URL nor JSON with host, dbname, username and password; where it has no host (a "
            "master user that RDS manages), set url in [source] without user and password beside it"
        )
        raise SettingsError(f"secret in [source]: the secret does not fit: {wanted}")

    def _read(self) -> str:
        try:
            found = self.access.client("secretsmanager").get_secret_value(SecretId=self.name)
        except ClientError as error:
            answered = f"secret in [source]: AWS Secrets Manager answered {error.response['Error']['Code']}"
            if may_pass(error):
                raise SourceUnavailable(f"{answered}: give the same command again later") from None
            raise SettingsError(
                f"{answered}: check the name, AWS_REGION, and the role's secretsmanager:GetSecretValue"
            ) from None
        except ParamValidationError:
            raise SettingsError("secret in [source]: no secret can have this name: write its name or ARN") from None
        except BotoCoreError as error:
            raise SourceUnavailable(
                f"secret in [source]: AWS Secrets Manager cannot be reached at "
                f"{self.access.endpoint_url('secretsmanager')}: {type(error).__name__}. A private subnet needs an "
                "interface endpoint of com.amazonaws.REGION.secretsmanager"
            ) from None
        held: str = found.get("SecretString") or ""
        return held


def _url(fields: dict[str, Any]) -> str:
    database = quote(str(fields["dbname"]), safe="")
    return (
        f"postgresql://{_userinfo(fields)}@{fields['host']}:{fields.get('port', 5432)}/{database}?sslmode=verify-full"
    )


def _says_who(place: str) -> bool:
    """Whether a URL names a user or a password. libpq also takes them as parameters, and these win."""
    try:
        parts = urlsplit(place)
    except ValueError:
        return False  # it is no URL, and is refused later
    return "@" in parts.netloc or not {"user", "password", "passfile"}.isdisjoint(parse_qs(parts.query))


def _placed(fields: dict[str, Any], place: str) -> str:
    scheme, _, rest = place.partition("://")
    return f"{scheme}://{_userinfo(fields)}@{rest}"


def _userinfo(fields: dict[str, Any]) -> str:
    return ":".join(quote(str(fields[name]), safe="") for name in ("username", "password"))
