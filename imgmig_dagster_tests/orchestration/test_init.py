"""`imgmig init` makes a stage's files once, and deprecated variables are told of once a command."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished

Imgmig = Callable[..., Finished]
FILES = ("stages/staging.toml", ".env.staging", ".dagster/staging/dagster.yaml")


@pytest.fixture
def imgmig(commands: CommandServer, tmp_path: Path) -> Imgmig:
    """Runs a command in an empty folder, with these variables alone."""

    def run(*arguments: str, **environment: str) -> Finished:
        return commands.run(*arguments, environment=environment, folder=tmp_path)

    return run


def test_the_files_are_made_and_name_what_is_left_to_say(imgmig: Imgmig, tmp_path: Path) -> None:
    made = imgmig("init", "--stage", "staging", "--target-table", "images-staging")

    assert made.exit_code == 0
    assert all((tmp_path / name).is_file() for name in FILES)
    assert (tmp_path / ".env.staging").stat().st_mode & 0o777 == 0o600
    assert made.stdout.splitlines()[-1] == "Next: edit stages/staging.toml, then imgmig doctor --stage staging"
    refused = imgmig("doctor", "--stage", "staging")
    assert refused.exit_code == 2
    assert "url in [source] is missing (or secret); url in [state] is missing. Set them in stages/" in refused.stderr


def test_a_file_that_exists_stays_as_it_is(imgmig: Imgmig, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# mine\n")

    made = imgmig("init", "--stage", "staging")

    assert made.exit_code == 0
    assert {(tmp_path / name).read_text() for name in FILES} == {"# mine\n"}
    assert made.stdout.count("Kept ") == 3
    assert f"Add to .env.staging: DAGSTER_HOME={tmp_path}/.dagster/staging" in made.stdout


def test_a_stage_of_variables_becomes_files_that_say_the_same(
    imgmig: Imgmig, platform: Platform, tmp_path: Path
) -> None:
    platform.source.insert([image(1)])
    variables = {
        **platform.environment,
        "IMGMIG_SOURCE_URL": platform.source.url.replace("imgmig_reader@", "imgmig_reader:a%20b@"),
        "IMGMIG_ALLOW_INSECURE": "loopback",
        "IMGMIG_WRITE_RATE": "250",
        "IMGMIG_IGNORED_COLUMNS": '{"caption": "never shown"}',
        "AWS_ENDPOINT_URL": platform.environment["AWS_ENDPOINT_URL_DYNAMODB"],
    }
    migrated = imgmig("migrate", "--stage", "staging", **variables)
    assert migrated.exit_code == 0, migrated.stdout
    before = imgmig("status", "--stage", "staging", "--json", **variables)
    assert before.exit_code == 0
    assert "IMGMIG_WRITE_RATE is deprecated: set write_units_per_s in [target] of stages/staging.toml" in before.stderr

    made = imgmig("init", "--stage", "staging", **variables)

    assert made.exit_code == 0
    assert "The password in IMGMIG_SOURCE_URL is in no file: set it as PGPASSWORD in .env.staging" in made.stdout
    assert "a%20b" not in (tmp_path / "stages/staging.toml").read_text()
    (tmp_path / ".env.staging").write_text("PGPASSWORD='a b'\n")
    without = {name: value for name, value in variables.items() if not name.startswith("IMGMIG_")}
    after = imgmig("status", "--stage", "staging", "--json", **without)
    assert (after.exit_code, after.stderr) == (0, "")
    assert after.document["partitions"] == before.document["partitions"]
    shown = imgmig("throttle", "--stage", "staging", **without)
    assert "250" in shown.stdout
    assert "caption" in (tmp_path / "mappings/images.yaml").read_text()


def test_what_variables_say_of_a_table_is_to_be_written_where_a_declaration_exists(
    imgmig: Imgmig, tmp_path: Path
) -> None:
    (tmp_path / "mappings").mkdir()

    made = imgmig("init", "--stage", "prod", IMGMIG_PARTITION_START="2021-06-01", IMGMIG_SOURCE_SCHEMA="app")

    assert made.exit_code == 0
    assert "what variables set: table: app.images; partitions: {every: monthly, start: 2021-06-01}" in made.stdout
    assert list((tmp_path / "mappings").iterdir()) == []


def test_a_variable_that_is_wrong_is_named(imgmig: Imgmig) -> None:
    refused = imgmig("init", "--stage", "prod", IMGMIG_IGNORED_COLUMNS="caption")

    assert refused.exit_code == 2
    assert "IMGMIG_IGNORED_COLUMNS: must be a JSON object of columns and reasons" in refused.stderr


def test_a_password_is_not_taken_as_an_option(imgmig: Imgmig) -> None:
    refused = imgmig("init", "--stage", "staging", "--source-url", "postgresql://u:canary@h/d")

    assert refused.exit_code == 2
    assert "--source-url holds a password: leave it out, and set PGPASSWORD in .env.staging" in refused.stderr
    assert "canary" not in refused.stdout + refused.stderr


def test_each_deprecated_variable_is_told_of_once_a_command_and_json_stays_json(
    platform: Platform, imgmig: Imgmig
) -> None:
    platform.source.insert([image(1)])

    found = imgmig("migrate", "--json", **platform.environment)

    assert found.exit_code == 0, found.stderr
    assert found.document["errors"] == []
    told = [line.partition(" ")[0] for line in found.stderr.splitlines() if " is deprecated: " in line]
    assert sorted(told) == sorted(name for name in platform.environment if name.startswith("IMGMIG_"))


def test_the_sandboxs_addresses_are_not_written_into_the_file_of_dev(imgmig: Imgmig, tmp_path: Path) -> None:
    sandbox = tmp_path / ".imgmig"
    sandbox.mkdir()
    variables = {"IMGMIG_SOURCE_URL": "postgresql://reader@127.0.0.1:1/images", "IMGMIG_TARGET_TABLE": "images"}
    (sandbox / "sandbox.env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    made = imgmig("init", "--stage", "dev")

    assert made.exit_code == 0
    written = (tmp_path / "stages" / "dev.toml").read_text()
    assert '\n# table = "images-dev"' in written
    assert "127.0.0.1:1" not in written
    for stage in ("dev", "staging"):
        refused = imgmig("init", "--stage", stage, **variables)
        assert refused.exit_code == 2
        assert "has the sandbox's IMGMIG_SOURCE_URL, IMGMIG_TARGET_TABLE" in refused.stderr
    assert not (tmp_path / "stages" / "staging.toml").exists()


@pytest.mark.parametrize("parameter", ["password", "sslpassword", "%70assword", "PASSWORD"])
def test_a_password_in_a_parameter_is_in_no_file(imgmig: Imgmig, tmp_path: Path, parameter: str) -> None:
    url = f"postgresql://reader@db.example.com/images?sslmode=verify-full&{parameter}=hunter2"

    made = imgmig("init", "--stage", "staging", IMGMIG_SOURCE_URL=url)

    assert made.exit_code == 0
    assert "The password in IMGMIG_SOURCE_URL is in no file" in made.stdout
    written = (tmp_path / "stages" / "staging.toml").read_text()
    assert "hunter2" not in written
    assert 'url = "postgresql://reader@db.example.com/images?sslmode=verify-full"' in written
    assert imgmig("init", "--stage", "prod", "--source-url", url).exit_code == 2


def test_a_password_that_cannot_be_told_apart_is_written_nowhere(imgmig: Imgmig, tmp_path: Path) -> None:
    made = imgmig("init", "--stage", "staging", IMGMIG_SOURCE_URL="postgresql://reader:hun?ter2@db.example.com/images")

    assert made.exit_code == 2
    assert "give the URL without it by --source-url" in made.stderr
    assert not (tmp_path / "stages").exists()


def test_conditional_writes_stay_conditional(imgmig: Imgmig, tmp_path: Path) -> None:
    variables = {"IMGMIG_DUAL_WRITE": "false", "IMGMIG_WRITE_MODE": "conditional", "IMGMIG_SETTLE_SECONDS": "7"}

    made = imgmig("init", "--stage", "staging", **variables)

    assert "\napplication_writes = true" in (tmp_path / "stages" / "staging.toml").read_text()
    assert "IMGMIG_SETTLE_SECONDS is no setting any more" in made.stdout


def test_what_a_kept_file_does_not_say_is_to_be_added(imgmig: Imgmig, tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "prod.toml").write_text('[target]\ntable = "images-prod"\n')

    made = imgmig("init", "--stage", "prod", IMGMIG_WRITE_RATE="250", IMGMIG_TARGET_TABLE="images-prod")

    assert "Add to [target] of stages/prod.toml: write_units_per_s = 250.0 (IMGMIG_WRITE_RATE)" in made.stdout
    assert "Remove from the environment and from .env.prod: IMGMIG_TARGET_TABLE\n" in made.stdout
