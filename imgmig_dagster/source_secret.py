"""The source's URL from AWS Secrets Manager, so that no file and no variable holds its password."""

import json
from typing import Any
from urllib.parse import quote

from imgmig_dagster.aws import AwsAccess, BotoCoreError, ClientError
from imgmig_dagster.errors import SettingsError


def read_source_url(access: AwsAccess, secret: str) -> str:
    """The libpq URL that a secret holds, by its name or ARN.

    The secret is that URL, or JSON as Amazon RDS keeps and rotates it (`host`, `port`, `dbname`, `username`,
    `password`); of the latter the URL asks for `verify-full`.

    Raises:
        SettingsError: the secret cannot be read, or holds neither; the message shows nothing of it.
    """
    try:
        held = access.client("secretsmanager").get_secret_value(SecretId=secret).get("SecretString")
    except ClientError as error:
        raise SettingsError(
            f"IMGMIG_SOURCE_SECRET: AWS Secrets Manager answered {error.response['Error']['Code']}: check the name, "
            "AWS_REGION, and the role's secretsmanager:GetSecretValue"
        ) from None
    except BotoCoreError as error:
        raise SettingsError(
            f"IMGMIG_SOURCE_SECRET: AWS Secrets Manager cannot be reached: {type(error).__name__}"
        ) from None
    if isinstance(held, str) and not held.lstrip().startswith("{"):
        return held.strip()
    try:
        return _url(json.loads(held or ""))
    except (ValueError, KeyError, TypeError):
        raise SettingsError(
            "IMGMIG_SOURCE_SECRET: the secret is neither a libpq URL nor JSON with host, dbname, username and password"
        ) from None


def _url(fields: "dict[str, Any]") -> str:
    user, password, database = (quote(str(fields[name]), safe="") for name in ("username", "password", "dbname"))
    return f"postgresql://{user}:{password}@{fields['host']}:{fields.get('port', 5432)}/{database}?sslmode=verify-full"
