"""Settings that keep secrets out of files and traffic encrypted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.errors import SettingsError, SourceUnavailable
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.source_secret import SourceSecret
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.aws_gate import Answer, aws_gate
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.test_config import NEEDED, refusal

SOURCE = NEEDED["IMGMIG_SOURCE_URL"]
PLAIN_LOOPBACK = "postgresql://migrator:hunter2@127.0.0.1/app"


@pytest.fixture
def configured(clean_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NEEDED.items():
        clean_environment.setenv(name, value)
    return clean_environment


class TestEncryption:
    @pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PROD])
    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://db.internal/app",
            *(SOURCE.replace("verify-full", mode) for mode in ("disable", "prefer", "require", "verify-ca")),
            PLAIN_LOOPBACK,
            "postgresql:///app?host=/var/run/postgresql",
        ],
    )
    def test_the_source_is_refused_without_verify_full(
        self, configured: pytest.MonkeyPatch, stage: Stage, url: str
    ) -> None:
        configured.setenv("IMGMIG_SOURCE_URL", url)

        text = refusal(stage)

        assert f"settings of stage {stage.value}: IMGMIG_SOURCE_URL must end in ?sslmode=verify-full" in text
        assert "hunter2" not in text

    @pytest.mark.parametrize(
        ("url", "allowed"),
        [
            (PLAIN_LOOPBACK, True),
            ("postgresql://[::1]:5432,localhost/app", True),
            ("postgresql:///app?host=/var/run/postgresql", True),
            ("postgresql://127.0.0.1,db.internal/app", False),
            ("postgresql://localhost/app?hostaddr=10.0.0.1", False),
            ("postgresql://127.0.0.1.evil.example/app", False),
            ("postgresql:///app", False),  # libpq would take its host from elsewhere
        ],
    )
    def test_staging_takes_less_on_loopback_alone_and_only_by_name(
        self, configured: pytest.MonkeyPatch, url: str, allowed: bool
    ) -> None:
        configured.setenv("IMGMIG_SOURCE_URL", url)
        configured.setenv("IMGMIG_ALLOW_INSECURE", "loopback")

        if allowed:
            assert load_settings(Stage.STAGING).shown(IMAGE)["connections.allow_insecure"] == "loopback"
        else:
            assert "sslmode=verify-full" in refusal(Stage.STAGING)

    @pytest.mark.parametrize(
        ("url", "variables", "allowed"),
        [
            (PLAIN_LOOPBACK, {"PGHOSTADDR": "10.0.0.1"}, False),
            (PLAIN_LOOPBACK, {"PGHOSTADDR": "127.0.0.1"}, True),
            (f"{PLAIN_LOOPBACK}?hostaddr=127.0.0.1", {"PGHOSTADDR": "10.0.0.1"}, True),
            (PLAIN_LOOPBACK, {"PGHOST": "db.internal"}, True),
            ("postgresql:///app", {"PGHOST": "db.internal"}, False),
            (PLAIN_LOOPBACK, {"PGSERVICE": "elsewhere"}, False),
            (f"{PLAIN_LOOPBACK}?service=elsewhere", {}, False),
            (SOURCE, {"PGHOSTADDR": "10.0.0.1"}, True),
        ],
    )
    def test_it_is_loopback_where_libpq_really_connects(
        self, configured: pytest.MonkeyPatch, tmp_path: Path, url: str, variables: dict[str, str], allowed: bool
    ) -> None:
        (tmp_path / "services").write_text("[elsewhere]\nhostaddr=10.0.0.1\n")
        configured.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        configured.setenv("IMGMIG_SOURCE_URL", url)
        configured.setenv("IMGMIG_ALLOW_INSECURE", "loopback")
        for name, value in variables.items():
            configured.setenv(name, value)

        if allowed:
            load_settings(Stage.STAGING)
        else:
            assert "neither PGHOSTADDR nor a service leads elsewhere" in refusal(Stage.STAGING)

    def test_prod_refuses_the_exception_itself(self, configured: pytest.MonkeyPatch) -> None:
        configured.setenv("IMGMIG_ALLOW_INSECURE", "loopback")

        assert "IMGMIG_ALLOW_INSECURE is refused in prod" in refusal()

    def test_another_exception_than_loopback_is_none(self, configured: pytest.MonkeyPatch) -> None:
        configured.setenv("IMGMIG_ALLOW_INSECURE", "everywhere")

        assert "IMGMIG_ALLOW_INSECURE: " in refusal(Stage.STAGING)

    @pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_DYNAMODB"])
    def test_no_request_goes_by_plain_http(self, configured: pytest.MonkeyPatch, variable: str) -> None:
        configured.setenv("AWS_REGION", "us-east-1")
        configured.setenv(variable, "http://aws.example:4566")
        service = "s3" if variable.endswith("S3") else "dynamodb"

        for stage in (Stage.STAGING, Stage.PROD):
            with pytest.raises(SettingsError, match="this stage speaks HTTPS only"):
                load_settings(stage).aws().client(service)

        configured.setenv("IMGMIG_ALLOW_INSECURE", "loopback")
        with pytest.raises(SettingsError, match="this stage speaks HTTPS only"):
            load_settings(Stage.STAGING).aws().client(service)
        configured.setenv(variable, "http://127.0.0.1:4566")
        assert load_settings(Stage.STAGING).aws().client(service).meta.endpoint_url == "http://127.0.0.1:4566"

    def test_an_endpoint_of_the_aws_profile_counts_too(self, configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "aws-config").write_text("[default]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:4566\n")
        configured.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))

        with pytest.raises(SettingsError, match="this stage speaks HTTPS only"):
            load_settings(Stage.PROD).aws().client("dynamodb")


class TestSecret:
    @pytest.fixture
    def secrets(self, configured: pytest.MonkeyPatch, services: Services) -> Iterator[Any]:
        """Secrets Manager; the stage's source is the secret `imgmig`."""
        configured.delenv("IMGMIG_SOURCE_URL")
        for name, value in {
            "IMGMIG_SOURCE_SECRET": "imgmig",
            "IMGMIG_ALLOW_INSECURE": "loopback",
            "AWS_ENDPOINT_URL": services.dynamodb_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }.items():
            configured.setenv(name, value)
        client = access(services.dynamodb_url).client("secretsmanager")
        client.create_secret(Name="imgmig", SecretString="nothing yet")
        yield client
        client.delete_secret(SecretId="imgmig", ForceDeleteWithoutRecovery=True)

    @pytest.mark.parametrize(
        ("held", "url"),
        [
            (f"{SOURCE}\n", SOURCE),
            (
                '{"engine": "postgres", "host": "db.internal", "port": 6432, "dbname": "app", "username": "migrator", '
                '"password": "p@ss/w%rd"}',
                "postgresql://migrator:p%40ss%2Fw%25rd@db.internal:6432/app?sslmode=verify-full",
            ),
        ],
        ids=["url", "as RDS keeps it"],
    )
    def test_the_source_is_what_the_secret_says(self, secrets: Any, held: str, url: str) -> None:
        secrets.put_secret_value(SecretId="imgmig", SecretString=held)

        assert load_settings(Stage.STAGING).source_url.get_secret_value() == url

    @pytest.mark.parametrize("held", ["hunter2", '{"password": "hunter2"}', '{"hunter2'])
    def test_a_secret_of_another_kind_is_refused_and_not_shown(self, secrets: Any, held: str) -> None:
        secrets.put_secret_value(SecretId="imgmig", SecretString=held)

        assert "hunter2" not in refusal(Stage.STAGING)

    @pytest.mark.usefixtures("secrets")
    def test_a_secret_that_is_not_there_is_named_by_its_variable(self, configured: pytest.MonkeyPatch) -> None:
        configured.setenv("IMGMIG_SOURCE_SECRET", "another")

        assert "secret in [source]: AWS Secrets Manager answered ResourceNotFoundException" in refusal(Stage.STAGING)

    @pytest.mark.usefixtures("secrets")
    def test_url_and_secret_together_are_refused(self, configured: pytest.MonkeyPatch) -> None:
        configured.setenv("IMGMIG_SOURCE_URL", SOURCE)

        text = refusal(Stage.STAGING)

        assert "url beside secret in [source] says where the database is, without user and" in text
        assert "hunter2" not in text

    @pytest.mark.usefixtures("secrets")
    def test_a_user_among_the_urls_parameters_would_win_over_the_secrets(self, configured: pytest.MonkeyPatch) -> None:
        configured.setenv("IMGMIG_SOURCE_URL", "postgresql://db.internal/app?user=hunter2&sslmode=verify-full")

        text = refusal(Stage.STAGING)

        assert "says where the database is, without user and password" in text
        assert "hunter2" not in text

    @pytest.mark.parametrize("host", ["db.internal:6432", "[::1]", "db-1.internal:5432,db-2.internal:5433"])
    def test_a_master_users_secret_is_put_into_the_url_beside_it(
        self, secrets: Any, configured: pytest.MonkeyPatch, host: str
    ) -> None:
        # All that RDS keeps of a master user whom it manages.
        secrets.put_secret_value(SecretId="imgmig", SecretString='{"username": "master", "password": "p@ss/w%rd?"}')
        configured.setenv("IMGMIG_SOURCE_URL", f"postgresql://{host}/app?sslmode=verify-full")

        url = load_settings(Stage.STAGING).source_url.get_secret_value()

        assert url == f"postgresql://master:p%40ss%2Fw%25rd%3F@{host}/app?sslmode=verify-full"

    def test_a_master_users_secret_alone_says_what_else_to_set(self, secrets: Any) -> None:
        secrets.put_secret_value(SecretId="imgmig", SecretString='{"username": "master", "password": "hunter2"}')

        text = refusal(Stage.STAGING)

        assert "set url in [source] without user and password beside it" in text
        assert "hunter2" not in text

    def test_a_whole_url_as_a_secret_takes_no_other_beside_it(
        self, secrets: Any, configured: pytest.MonkeyPatch
    ) -> None:
        secrets.put_secret_value(SecretId="imgmig", SecretString=SOURCE)
        configured.setenv("IMGMIG_SOURCE_URL", "postgresql://db.internal/app?sslmode=verify-full")

        assert "it has to be JSON with username and password" in refusal(Stage.STAGING)

    def test_a_rotated_password_is_read_for_the_next_connection(
        self, secrets: Any, configured: pytest.MonkeyPatch
    ) -> None:
        secrets.put_secret_value(SecretId="imgmig", SecretString='{"username": "master", "password": "old"}')
        configured.setenv("IMGMIG_SOURCE_URL", "postgresql://db.internal/app?sslmode=verify-full")
        settings = load_settings(Stage.STAGING)
        assert ":old@" in settings.current_source_url()

        secrets.put_secret_value(SecretId="imgmig", SecretString='{"username": "master", "password": "new"}')
        assert ":new@" in settings.current_source_url()

        # What was read last still does where the secret cannot be read.
        secrets.put_secret_value(SecretId="imgmig", SecretString="no login")
        assert ":old@" in settings.current_source_url()

    def test_a_secret_that_is_rewritten_meanwhile_lowers_no_guard(self, secrets: Any) -> None:
        secrets.put_secret_value(SecretId="imgmig", SecretString=SOURCE)
        settings = load_settings(Stage.STAGING)

        secrets.put_secret_value(SecretId="imgmig", SecretString="postgresql://u:p@db.internal/app")

        assert settings.current_source_url() == SOURCE


class TestSecretsManager:
    """It fails, or is away: the same command may succeed later."""

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (Answer(503, b'{"__type": "ServiceUnavailable"}'), "answered ServiceUnavailable: give the same command"),
            (Answer(400, b'{"__type": "ThrottlingException"}'), "answered ThrottlingException: give the same command"),
            (Answer(lost=True), "cannot be reached at http"),
        ],
        ids=["fails", "throttles", "away"],
    )
    def test_the_same_command_may_succeed_later(self, services: Services, answer: Answer, said: str) -> None:
        with aws_gate(services.dynamodb_url) as gate:
            gate.rule = lambda _asked: answer
            with pytest.raises(SourceUnavailable, match=rf"secret in \[source\]: AWS Secrets Manager {said}") as caught:
                SourceSecret(access(gate.url), "imgmig").url()

        assert caught.value.exit_code == 3


class TestWebhook:
    @pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PROD])
    def test_a_webhook_over_plain_http_is_refused_and_not_shown(
        self, configured: pytest.MonkeyPatch, stage: Stage
    ) -> None:
        configured.setenv("IMGMIG_ALERT_WEBHOOK", "http://hooks.example/T0/hunter2")

        text = refusal(stage)

        assert "IMGMIG_ALERT_WEBHOOK must be an https:// URL" in text
        assert "hunter2" not in text

    def test_https_is_taken_and_loopback_where_a_setting_says_so(self, configured: pytest.MonkeyPatch) -> None:
        configured.setenv("IMGMIG_ALERT_WEBHOOK", "https://hooks.example/T0/x")
        assert load_settings(Stage.PROD).alert_webhook is not None

        configured.setenv("IMGMIG_ALERT_WEBHOOK", "http://127.0.0.1:8080/x")
        assert "IMGMIG_ALERT_WEBHOOK" in refusal(Stage.STAGING)
        configured.setenv("IMGMIG_ALLOW_INSECURE", "loopback")
        assert load_settings(Stage.STAGING).alert_webhook is not None
