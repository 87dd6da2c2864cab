"""Settings: each stage's, from the environment or its file, and every fault named."""

from datetime import date
from pathlib import Path

import pytest

from imgmig_dagster.errors import SandboxNotRunning, SettingsError
from imgmig_dagster.stage.config import (
    dagster_home,
    deprecation_warnings,
    load_settings,
    load_table_settings,
    sandbox_root,
    stage_from_env,
    uses_sandbox,
)
from imgmig_dagster.stage.stages import Stage, WriteMode, parse_stage
from imgmig_dagster.stage.table_settings import TableSettings
from imgmig_dagster.stage.tables import declarations
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE

MISSING = {
    "IMGMIG_SOURCE_URL": "url in [source] is missing (or secret)",
    "IMGMIG_TARGET_TABLE": "table in [target] is missing",
    "IMGMIG_STATE_URL": "url in [state] is missing",
}
NEEDED = {
    "IMGMIG_SOURCE_URL": "postgresql://migrator:hunter2@db.internal:5432/app?sslmode=verify-full",
    "IMGMIG_TARGET_TABLE": "images-prod",
    "IMGMIG_STATE_URL": "file:///var/lib/imgmig",
}


@pytest.fixture
def env(clean_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return clean_environment


@pytest.fixture
def configured(env: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NEEDED.items():
        env.setenv(name, value)
    return env


def refusal(stage: Stage = Stage.PROD) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(stage)
    return str(caught.value)


class TestStage:
    @pytest.mark.parametrize("name", ["dev", "staging", "prod"])
    def test_the_environment_names_the_stage(self, env: pytest.MonkeyPatch, name: str) -> None:
        env.setenv("STAGE", name)

        assert stage_from_env().value == name

    @pytest.mark.usefixtures("env")
    def test_it_is_dev_where_nothing_is_set(self) -> None:
        assert stage_from_env() is Stage.DEV

    @pytest.mark.parametrize("name", ["production", "PROD", "", "local"])
    def test_another_value_is_an_error_that_names_the_choices(self, name: str) -> None:
        with pytest.raises(SettingsError, match="choose one of dev, staging, prod"):
            parse_stage(name)


class TestMissing:
    @pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PROD])
    @pytest.mark.usefixtures("env")
    def test_every_missing_setting_is_named_at_once(self, stage: Stage) -> None:
        text = refusal(stage)

        assert all(said in text for said in MISSING.values())
        assert f"imgmig init --stage {stage.value} writes stages/{stage.value}.toml" in text

    @pytest.mark.parametrize("missing", NEEDED)
    def test_only_what_is_missing_is_named(self, configured: pytest.MonkeyPatch, missing: str) -> None:
        configured.delenv(missing)

        text = refusal()

        assert MISSING[missing] in text
        assert not any(said in text for name, said in MISSING.items() if name != missing)

    @pytest.mark.usefixtures("env")
    def test_staging_and_prod_never_fall_back_to_the_sandbox(self) -> None:
        assert not uses_sandbox(Stage.STAGING)
        assert not uses_sandbox(Stage.PROD)

    def test_dev_with_a_location_of_its_own_does_not_use_the_sandbox(self, env: pytest.MonkeyPatch) -> None:
        assert uses_sandbox(Stage.DEV)
        env.setenv("IMGMIG_TARGET_TABLE", "images-mine")
        assert not uses_sandbox(Stage.DEV)

    @pytest.mark.usefixtures("configured")
    def test_dagster_home_is_named_where_it_is_missing(self) -> None:
        with pytest.raises(SettingsError, match="DAGSTER_HOME is not set for stage prod"):
            dagster_home(Stage.PROD)


class TestWrong:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("IMGMIG_PAGE_SIZE", "0"),
            ("IMGMIG_PAGE_SIZE", "many"),
            ("IMGMIG_REQUESTS_IN_FLIGHT", "500"),
            ("IMGMIG_WRITE_RATE", "-1"),
            ("IMGMIG_SETTLE_SECONDS", "61"),
            ("IMGMIG_WRITE_MODE", "fast"),
            ("IMGMIG_DUAL_WRITE", "perhaps"),
            ("IMGMIG_PARTITION_GRAIN", "yearly"),
            ("IMGMIG_PARTITION_START", "2024-13-01"),
            ("IMGMIG_PARTITION_START", "2999-01-01"),
            ("IMGMIG_TARGET_TABLE", "x"),
        ],
    )
    def test_a_wrong_value_is_named_by_its_variable(
        self, configured: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        configured.setenv(name, value)

        assert f"{name}: " in refusal()

    @pytest.mark.parametrize(
        ("parameters", "says"),
        [
            (
                "schema=public&pgbouncer=true",
                ["schema is Prisma's: set `table` in the declaration", "pgbouncer is Prisma's"],
            ),
            ("connection_limit=1", ["connection_limit is Prisma's"]),
            ("sslaccept=strict", ["write sslmode=verify-full"]),
            ("ssl=true", ["must end in ?sslmode=verify-full", "ssl is another driver's: write sslmode=verify-full"]),
            ("ssl=1", ["ssl is another driver's: write sslmode=verify-full"]),
            ("prepareThreshold=0&sslmode=verify-full", ["prepareThreshold is JDBC's"]),
        ],
    )
    def test_parameters_of_other_tools_are_named_as_what_they_are(
        self, configured: pytest.MonkeyPatch, parameters: str, says: list[str]
    ) -> None:
        configured.setenv("IMGMIG_SOURCE_URL", f"postgresql://u:hunter2@h/d?{parameters}")

        text = refusal()

        assert all(each in text for each in says)
        assert "not a URL" not in text
        assert "hunter2" not in text

    @pytest.mark.parametrize(
        "url",
        [
            "db.internal",
            "mysql://user:hunter2@host/app",
            "postgresql://u:hun%ter2@h/d",
            "postgresql://u@h/d?password=a&hunter2=b",
        ],
    )
    def test_a_source_url_that_is_none_is_refused_and_not_shown(self, configured: pytest.MonkeyPatch, url: str) -> None:
        configured.setenv("IMGMIG_SOURCE_URL", url)

        text = refusal()

        assert "IMGMIG_SOURCE_URL" in text
        assert "hunter2" not in text
        assert "hun%ter2" not in text

    def test_batch_mode_is_refused_while_the_application_writes_to_both_sides(
        self, configured: pytest.MonkeyPatch
    ) -> None:
        configured.setenv("IMGMIG_WRITE_MODE", "batch")

        assert "can overwrite what the application writes" in refusal()

        configured.setenv("IMGMIG_FORCE_BATCH", "another-table")
        assert "batch_by_force = <the target table's name>" in refusal()

        configured.setenv("IMGMIG_FORCE_BATCH", "images-prod")
        assert load_settings(Stage.PROD).write_mode is WriteMode.BATCH


class TestDefaults:
    @pytest.mark.parametrize(
        ("stage", "dual_write", "mode", "delay"),
        [
            (Stage.PROD, None, WriteMode.CONDITIONAL, 2.0),
            (Stage.STAGING, None, WriteMode.CONDITIONAL, 2.0),
            (Stage.DEV, None, WriteMode.BATCH, 0.0),
            (Stage.PROD, "false", WriteMode.BATCH, 0.0),
            (Stage.DEV, "true", WriteMode.CONDITIONAL, 2.0),
        ],
    )
    def test_the_write_mode_follows_from_whether_the_application_writes_too(
        self,
        configured: pytest.MonkeyPatch,
        stage: Stage,
        dual_write: str | None,
        mode: WriteMode,
        delay: float,
    ) -> None:
        if dual_write:
            configured.setenv("IMGMIG_DUAL_WRITE", dual_write)

        settings = load_settings(stage)

        assert (settings.write_mode, settings.recheck_delay_s) == (mode, delay)

    @pytest.mark.usefixtures("configured")
    def test_pages_and_requests_are_those_of_the_requirements(self) -> None:
        settings = load_settings(Stage.PROD)

        assert (settings.source.page_size, settings.target.requests_in_flight, settings.target.write_units_per_s) == (
            1_000,
            64,
            None,
        )
        assert settings.tables.partition_grain == "monthly"
        assert settings.applied_to(IMAGE) == IMAGE, "what no setting says is the declaration's"


class TestSources:
    @pytest.mark.usefixtures("env")
    def test_settings_come_from_the_stages_own_file(self, tmp_path: Path) -> None:
        (tmp_path / ".env.prod").write_text("".join(f"{name}={value}\n" for name, value in NEEDED.items()))
        (tmp_path / ".env.staging").write_text("IMGMIG_TARGET_TABLE=images-staging\n")

        assert load_settings(Stage.PROD).target.table == "images-prod"
        assert MISSING["IMGMIG_SOURCE_URL"] in refusal(Stage.STAGING)

    def test_the_environment_wins_over_the_file(self, configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env.prod").write_text("IMGMIG_TARGET_TABLE=from-file\nIMGMIG_PAGE_SIZE=77\n")
        configured.setenv("IMGMIG_TARGET_TABLE", "from-environment")

        settings = load_settings(Stage.PROD)

        assert (settings.target.table, settings.source.page_size) == ("from-environment", 77)

    def test_aws_is_reached_by_its_own_variables(self, configured: pytest.MonkeyPatch) -> None:
        for name, value in {
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIA",
            "AWS_SECRET_ACCESS_KEY": "hush",
            "AWS_SESSION_TOKEN": "token",
            "AWS_ENDPOINT_URL_DYNAMODB": "http://vpce",
        }.items():
            configured.setenv(name, value)

        access = load_settings(Stage.PROD).aws()

        assert (access.region, access.access_key_id, access.secret_access_key) == ("eu-central-1", "AKIA", "hush")
        assert (access.session_token, dict(access.endpoint_urls)) == ("token", {"dynamodb": "http://vpce"})

    @pytest.mark.usefixtures("configured")
    def test_what_is_not_set_of_aws_is_left_to_botocores_chain(self) -> None:
        access = load_settings(Stage.PROD).aws()

        assert (access.region, access.profile, access.access_key_id, access.endpoint_urls) == (None, None, None, ())

    def test_no_secret_is_in_the_text_of_the_settings(self, configured: pytest.MonkeyPatch) -> None:
        configured.setenv("AWS_SECRET_ACCESS_KEY", "hush")

        settings = load_settings(Stage.PROD)

        assert "hunter2" not in f"{settings!r} {settings} {settings.shown(IMAGE)}"
        assert "hush" not in f"{settings!r} {settings} {settings.shown(IMAGE)} {settings.aws()!r}"
        assert settings.shown(IMAGE)["source"] == "db.internal/app, public.images"


class TestSandbox:
    @pytest.fixture
    def sandboxed(self, env: pytest.MonkeyPatch, services: Services) -> pytest.MonkeyPatch:
        env.setenv("IMGMIG_SANDBOX_DIR", str(services.sandbox.root))
        return env

    @pytest.mark.usefixtures("sandboxed")
    def test_dev_attaches_to_the_sandbox_when_nothing_else_is_set(self, services: Services) -> None:
        settings = load_settings(Stage.DEV)

        assert settings.source_url.get_secret_value() == services.environment["IMGMIG_SOURCE_URL"]
        assert dict(settings.aws().endpoint_urls)["dynamodb"] == services.dynamodb_url
        assert (settings.target.table, settings.write_mode) == ("images-dev", WriteMode.BATCH)
        assert dagster_home(Stage.DEV) == services.sandbox.root / "dagster_home"

    def test_real_credentials_never_go_to_the_sandbox(self, sandboxed: pytest.MonkeyPatch, tmp_path: Path) -> None:
        sandboxed.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
        sandboxed.setenv("AWS_SECRET_ACCESS_KEY", "real")
        sandboxed.setenv("AWS_ENDPOINT_URL_DYNAMODB", "https://dynamodb.us-east-1.amazonaws.com")
        (tmp_path / ".env.dev").write_text("AWS_ACCESS_KEY_ID=AKIAFILE\n")

        access = load_settings(Stage.DEV).aws()

        assert (access.access_key_id, access.secret_access_key) == ("sandbox", "sandbox")
        assert "amazonaws" not in dict(access.endpoint_urls)["dynamodb"]

    def test_what_a_person_sets_wins_over_the_sandbox(self, sandboxed: pytest.MonkeyPatch) -> None:
        sandboxed.setenv("IMGMIG_PARTITION_GRAIN", "weekly")
        sandboxed.setenv("IMGMIG_PAGE_SIZE", "5")

        settings = load_settings(Stage.DEV)

        assert (settings.tables.partition_grain, settings.source.page_size) == ("weekly", 5)
        assert load_table_settings(Stage.DEV).partition_grain == "weekly"

    @pytest.mark.usefixtures("sandboxed")
    def test_partitions_start_where_the_sandboxs_rows_do(self, services: Services) -> None:
        recorded = services.sandbox.environment()["IMGMIG_PARTITION_START"]

        assert str(declarations(Stage.DEV)["images"].partitions.start) == recorded

    @pytest.mark.usefixtures("sandboxed")
    def test_the_file_of_stage_dev_wins_over_the_sandboxs(self, tmp_path: Path) -> None:
        (tmp_path / "stages").mkdir()
        (tmp_path / "stages" / "dev.toml").write_text("[target]\napplication_writes = true\n")

        settings = load_settings(Stage.DEV)

        assert (settings.target.table, settings.write_mode) == ("images-dev", WriteMode.CONDITIONAL)

    def test_what_the_sandbox_hands_on_is_warned_of_only_where_a_person_changes_it(
        self, sandboxed: pytest.MonkeyPatch, services: Services
    ) -> None:
        for name, value in services.sandbox.environment().items():
            sandboxed.setenv(name, value)
        assert deprecation_warnings(Stage.DEV) == []

        sandboxed.setenv("IMGMIG_TARGET_TABLE", "images-mine")

        assert deprecation_warnings(Stage.DEV) == [
            "IMGMIG_TARGET_TABLE is deprecated: set table in [target] of stages/dev.toml"
        ]

    def test_a_sandbox_of_an_earlier_version_has_its_variables_alone(
        self, env: pytest.MonkeyPatch, services: Services, tmp_path: Path
    ) -> None:
        (tmp_path / ".imgmig").mkdir()
        (tmp_path / ".imgmig" / "sandbox.env").write_bytes((services.sandbox.root / "sandbox.env").read_bytes())
        env.setenv("IMGMIG_SANDBOX_DIR", str(tmp_path / ".imgmig"))

        settings = load_settings(Stage.DEV)

        assert settings.source_url.get_secret_value() == services.environment["IMGMIG_SOURCE_URL"]
        assert (settings.target.table, settings.aws().access_key_id) == ("images-dev", "sandbox")

    @pytest.mark.usefixtures("env")
    def test_reading_settings_starts_no_sandbox(self) -> None:
        with pytest.raises(SandboxNotRunning, match="run `imgmig sandbox start` first"):
            load_settings(Stage.DEV)

        assert not sandbox_root().exists()

    @pytest.mark.usefixtures("env")
    def test_partitions_load_where_no_sandbox_was_ever_started(self, tmp_path: Path) -> None:
        assert load_table_settings(Stage.DEV) == TableSettings(
            partition_grain="monthly", partition_start=date(2020, 1, 1)
        )
        assert sandbox_root() == tmp_path / ".imgmig"
        assert not sandbox_root().exists()


@pytest.mark.usefixtures("env")
def test_partitions_load_without_any_other_setting() -> None:
    assert load_table_settings(Stage.PROD).partition_grain == "monthly"


def test_a_wrong_partitioning_is_named_offline(env: pytest.MonkeyPatch) -> None:
    env.setenv("IMGMIG_PARTITION_START", "soon")

    with pytest.raises(SettingsError, match="IMGMIG_PARTITION_START"):
        load_table_settings(Stage.PROD)
