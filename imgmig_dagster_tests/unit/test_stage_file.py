"""A stage's file: what it may say, what it is refused for, and which variables still win over it."""

from pathlib import Path

import pytest

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.declaration import load
from imgmig_dagster.stage.config import (
    deprecation_warnings,
    load_places,
    load_settings,
    load_table_settings,
    sandbox_root,
    uses_sandbox,
)
from imgmig_dagster.stage.deprecated_variables import DEPRECATED
from imgmig_dagster.stage.stage_template import images_declaration, stage_file_text
from imgmig_dagster.stage.stages import Stage, WriteMode
from imgmig_dagster_tests.images import IMAGE

SOURCE = "postgresql://reader@db.internal/app?sslmode=verify-full"
FILE = f"""\
[source]
url = "{SOURCE}"

[target]
table = "images-prod"
aws_account = "123456789012"

[state]
url = "file:///var/lib/imgmig"
"""
CANARY = "canary-5ecret"


@pytest.fixture
def file(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of stage prod, in the current directory."""
    clean_environment.chdir(tmp_path)
    path = tmp_path / "stages" / "prod.toml"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(Stage.PROD)
    return str(caught.value)


@pytest.mark.usefixtures("file")
class TestValues:
    def test_a_stage_is_its_file(self) -> None:
        settings = load_settings(Stage.PROD)

        assert (settings.source_url.get_secret_value(), settings.state.url) == (SOURCE, "file:///var/lib/imgmig")
        assert (settings.target.table, settings.target.aws_account) == ("images-prod", "123456789012")
        assert (settings.source.time_zone, settings.tables.partitions_per_run) == ("UTC", 100)

    def test_another_stage_has_its_own(self) -> None:
        with pytest.raises(SettingsError, match=r"imgmig init --stage staging writes stages/staging\.toml"):
            load_settings(Stage.STAGING)

    def test_the_folder_can_be_another(self, file: Path, clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        file.rename(tmp_path / "elsewhere" / "prod.toml")
        clean_environment.setenv("IMGMIG_STAGES", str(tmp_path / "elsewhere"))

        assert load_settings(Stage.PROD).target.table == "images-prod"

    def test_places_and_tables_are_read_without_the_rest(self, file: Path) -> None:
        file.write_text('[target]\ntable = "t-1"\n[tables]\npartitions_per_run = 8\n[source]\nurl = 5\n')

        assert (load_places(Stage.PROD).target_table, load_places(Stage.PROD).source) == ("t-1", None)
        assert load_table_settings(Stage.PROD).partitions_per_run == 8

    def test_dev_is_not_the_sandboxs_with_a_location_in_its_file(self, file: Path) -> None:
        (file.parent / "dev.toml").write_text('[alerts]\nui_url = "http://localhost:1"\n')
        assert uses_sandbox(Stage.DEV)
        (file.parent / "dev.toml").write_text('[target]\ntable = "images-mine"\n')
        assert not uses_sandbox(Stage.DEV)
        assert not sandbox_root().exists(), "nothing is started"


@pytest.mark.parametrize(
    ("says", "mode", "delay"),
    [
        ("", WriteMode.CONDITIONAL, 2.0),
        ("application_writes = true", WriteMode.CONDITIONAL, 2.0),
        ("application_writes = false", WriteMode.BATCH, 0.0),
        ('batch_by_force = "images-prod"', WriteMode.BATCH, 2.0),
    ],
)
def test_whether_the_application_writes_decides_how_items_are_written(
    file: Path, says: str, mode: WriteMode, delay: float
) -> None:
    file.write_text(FILE.replace("[target]\n", f"[target]\n{says}\n"))

    settings = load_settings(Stage.PROD)

    assert (settings.write_mode, settings.recheck_delay_s) == (mode, delay)


def test_batches_by_force_need_the_tables_name(file: Path) -> None:
    file.write_text(FILE.replace("[target]\n", '[target]\nbatch_by_force = "images-staging"\n'))

    assert "batch_by_force = <the target table's name>" in refusal()


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[target]\ntabel = 'x'", "stages/prod.toml:2: there is no setting tabel in [target]; did you mean table?"),
            ("[traget]\n", "stages/prod.toml:1: there is no section traget; did you mean [target]?"),
            ("\n[state]\nwrite_units_per_s = 5", "prod.toml:3: .* did you mean write_units_per_s in [target]?"),
            ("[target]\nwrite_rate = 5", "did you mean write_units_per_s in [target]?"),
            ("[target]\nIMGMIG_DUAL_WRITE = true", "did you mean application_writes in [target]?"),
            ("table = 'x'", "prod.toml:1: there is no section table; "),
            ("page_size = 5", "prod.toml:1: there is no section page_size; there are [source], [tables], "),
            ("target = 'x'", "prod.toml:1: target is a section: write [target]"),
            ("[[target]]\ntable = 'x'", "target is a section: write [target]"),
            ("[target]\ntable = 7", "prod.toml:2: table in [target]: Input should be a valid string"),
            ("[target]\napplication_writes = 'no'", "prod.toml:2: application_writes in [target]: .* valid boolean"),
            ("[target]\nwrite_units_per_s = '7'", "prod.toml:2: write_units_per_s in [target]: .* valid number"),
            ("[target]\nwrite_units_per_s = inf", "prod.toml:2: write_units_per_s in [target]: .* finite number"),
            ("[target]\nwrite_units_per_s = 0", "prod.toml:2: write_units_per_s in [target]: .* greater than 0"),
            ("[target]\ntable = 2024-01-01", "prod.toml:2: table in [target]: Input should be a valid string"),
            ("[target]\naws_account = 123456789012", "prod.toml:2: aws_account in [target]: .* valid string"),
            ("[tables]\npartitions_per_run = 1.5", "prod.toml:2: partitions_per_run in [tables]: .* valid integer"),
            ("[reports]\nspot_check_pictures = 'both'", "prod.toml:2: .* 'embedded' or 'link'"),
            ("target.tabel = 'x'", "prod.toml:1: there is no setting tabel in [target]"),
            ("\n[target.table]\nx = 1", "prod.toml:2: table in [target]: Input should be a valid string"),
            ("\ufeff[target]\ntable = 7", "prod.toml:2: table in [target]: Input should be a valid string"),
            ("[target", "prod.toml is no TOML: "),
            ("[target]\n[target]", "prod.toml is no TOML: "),
        ],
    )
    def test_what_is_no_setting_is_named_with_its_line(self, file: Path, text: str, said: str) -> None:
        file.write_text(text)

        found = refusal()

        assert all(part in found for part in said.split(" .* ")), found

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                f'[source]\nurl = "postgresql://u:{CANARY}@h/d?sslmode=verify-full"',
                "prod.toml:2: url in [source] holds",
            ),
            (f'[source]\nurl = "postgresql://u@h/d?password={CANARY}"', "set PGPASSWORD in the environment or in .env"),
            (f'[source]\nurl = "postgresql://u@h/d?x=1&sslpassword={CANARY}"', "set PGPASSWORD in the environment"),
            (f'[source]\nurl = "postgresql://u@h/d?%70assword={CANARY}"', "set PGPASSWORD in the environment or in"),
            (f'[source]\nurl = "postgresql://u:pa/{CANARY}?@h/d"', "set PGPASSWORD in the environment or in .env"),
            (
                f'[source]\npassword = "{CANARY}"',
                "prod.toml:2: password in [source] is a secret: remove it",
            ),
            (
                f'[alerts]\nwebhook = "https://h/{CANARY}"',
                "prod.toml:2: webhook in [alerts] is a secret: remove it",
            ),
            (f'[alerts]\nui_url = "https://u:{CANARY}@h/"', "prod.toml:2: ui_url in [alerts] holds a password"),
            (f'[target]\nsecret_key = "{CANARY}"', "there is no setting secret_key in [target]"),
        ],
    )
    def test_a_secret_is_refused_and_not_shown(self, file: Path, text: str, said: str) -> None:
        file.write_text(text)

        found = refusal()

        assert said in found
        assert CANARY not in found

    def test_every_fault_is_named_at_once(self, file: Path) -> None:
        file.write_text("[target]\ntable = 7\naws_account = '12'\n")

        found = refusal()

        missing = "url in [source] is missing (or secret)", "url in [state] is missing"
        assert all(each in found for each in ("prod.toml:2", "prod.toml:3", *missing, "Set them in stages/prod.toml"))

    def test_a_file_that_cannot_be_read_is_one_line(self, file: Path) -> None:
        file.write_bytes(b"[target]\ntable = '\xff'\n")
        assert "stages/prod.toml is not UTF-8 from byte 18 on" in refusal()
        file.unlink()
        file.mkdir()
        assert "stages/prod.toml cannot be read: Is a directory" in refusal()


class TestSecrets:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("PGPASSWORD='a b&c'", f"{SOURCE}&password=a%20b%26c"),
            ("PGPASSFILE=/run/pass", f"{SOURCE}&passfile=%2Frun%2Fpass"),
        ],
    )
    def test_the_password_may_be_in_the_stages_file_of_variables(self, file: Path, line: str, expected: str) -> None:
        (file.parents[1] / ".env.prod").write_text(line)

        assert load_settings(Stage.PROD).current_source_url() == expected

    def test_one_in_the_environment_is_libpqs_alone(self, file: Path, clean_environment: pytest.MonkeyPatch) -> None:
        (file.parents[1] / ".env.prod").write_text(f"PGPASSWORD={CANARY}")
        clean_environment.setenv("PGPASSWORD", "b")

        assert load_settings(Stage.PROD).current_source_url() == SOURCE

    def test_no_secret_is_shown(self, file: Path) -> None:
        (file.parents[1] / ".env.prod").write_text(f"PGPASSWORD={CANARY}\nIMGMIG_ALERT_WEBHOOK=https://h/{CANARY}\n")

        settings = load_settings(Stage.PROD)

        assert settings.alert_webhook
        assert CANARY not in f"{settings!r} {settings} {settings.shown(IMAGE)} {load_places(Stage.PROD).source}"
        assert settings.shown(IMAGE)["target.table"] == "images-prod"
        assert settings.shown(IMAGE)["target.application_writes"] == "true"


VALUES = {
    "IMGMIG_SOURCE_URL": SOURCE.replace("app", "other"),
    "IMGMIG_SOURCE_SECRET": None,
    "IMGMIG_MAPPINGS": "declared",
    "IMGMIG_SOURCE_TIME_ZONE": "Europe/Berlin",
    "IMGMIG_SOURCE_SCHEMA": "s",
    "IMGMIG_SOURCE_TABLE": "t",
    "IMGMIG_IGNORED_COLUMNS": '{"a": "b"}',
    "IMGMIG_PARTITION_GRAIN": "weekly",
    "IMGMIG_PARTITION_START": "2022-01-01",
    "IMGMIG_PARTITIONS_PER_RUN": "7",
    "IMGMIG_TARGET_TABLE": "another",
    "IMGMIG_AWS_ACCOUNT": "210987654321",
    "IMGMIG_DUAL_WRITE": "false",
    "IMGMIG_WRITE_MODE": "conditional",
    "IMGMIG_FORCE_BATCH": None,
    "IMGMIG_WRITE_RATE": "200",
    "IMGMIG_REQUESTS_IN_FLIGHT": "9",
    "IMGMIG_PAGE_SIZE": "77",
    "IMGMIG_SETTLE_SECONDS": "0.5",
    "IMGMIG_EXPORT_URL": "s3://b/e",
    "IMGMIG_STATE_URL": "file:///other",
    "IMGMIG_REPORTS_URL": "s3://b/r",
    "IMGMIG_SIGNING_KEY": "alias/k",
    "IMGMIG_SHOW_VALUES": "true",
    "IMGMIG_SPOT_CHECK_PICTURES": "link",
    "IMGMIG_UI_URL": "https://ui",
    "IMGMIG_ALLOW_INSECURE": None,
}
"""Of each a value that differs from the file's and from the default; None where a test of its own has it."""


@pytest.mark.usefixtures("file")
class TestDeprecatedVariables:
    def test_the_table_is_of_all_of_them(self) -> None:
        assert VALUES.keys() == DEPRECATED.keys()

    @pytest.mark.parametrize("name", [name for name, value in VALUES.items() if value])
    def test_each_works_and_wins_over_the_file(self, name: str, clean_environment: pytest.MonkeyPatch) -> None:
        replacement = DEPRECATED[name]
        section = getattr(load_settings(Stage.PROD), replacement.section)
        before = getattr(section, replacement.key)
        clean_environment.setenv(name, str(VALUES[name]))

        after = getattr(getattr(load_settings(Stage.PROD), replacement.section), replacement.key)

        assert after != before

    def test_each_is_warned_of_with_its_new_place(self, clean_environment: pytest.MonkeyPatch, file: Path) -> None:
        for name in DEPRECATED:
            clean_environment.setenv(name, "x")

        found = deprecation_warnings(Stage.PROD)

        assert [line.partition(" ")[0] for line in found] == list(DEPRECATED)
        assert "IMGMIG_WRITE_RATE is deprecated: set write_units_per_s in [target] of stages/prod.toml" in found
        clean_environment.undo()
        clean_environment.chdir(file.parents[1])
        assert deprecation_warnings(Stage.PROD) == []
        (file.parents[1] / ".env.prod").write_text("IMGMIG_UI_URL=https://ui\nIMGMIG_CONFIRM_WRITES=t\nAWS_REGION=x\n")
        assert deprecation_warnings(Stage.PROD) == [
            "IMGMIG_UI_URL is deprecated: set ui_url in [alerts] of stages/prod.toml"
        ]

    def test_a_wrong_one_is_named_and_not_the_files_line(self, clean_environment: pytest.MonkeyPatch) -> None:
        clean_environment.setenv("IMGMIG_WRITE_RATE", "fast")
        clean_environment.setenv("IMGMIG_TARGET_TABLE", "x")

        found = refusal()

        assert "IMGMIG_WRITE_RATE: Input should be a valid number" in found
        assert "IMGMIG_TARGET_TABLE: String should have at least 3 characters" in found
        assert "prod.toml:" not in found

    def test_batch_by_force_is_what_two_of_them_said(self, clean_environment: pytest.MonkeyPatch) -> None:
        clean_environment.setenv("IMGMIG_FORCE_BATCH", "images-prod")
        assert load_settings(Stage.PROD).write_mode is WriteMode.CONDITIONAL, "alone it says nothing"
        clean_environment.setenv("IMGMIG_WRITE_MODE", "batch")
        assert load_settings(Stage.PROD).write_mode is WriteMode.BATCH


def test_a_new_stages_file_can_be_read_and_says_what_it_was_given(file: Path) -> None:
    given = {
        ("source", "url"): SOURCE,
        ("target", "table"): 'odd "name" ü\\',
        ("target", "write_units_per_s"): 12.5,
        ("state", "url"): "s3://b/p",
        ("reports", "keep_values"): True,
    }
    file.write_text(stage_file_text(Stage.PROD, given))

    settings = load_settings(Stage.PROD)

    assert {(section, key): getattr(getattr(settings, section), key) for section, key in given if key != "url"} == {
        place: value for place, value in given.items() if place[1] != "url"
    }
    # With its examples in place of comments it is one too.
    file.write_text(
        "\n".join(line.removeprefix("# ") if " = " in line else line for line in file.read_text().split("\n"))
    )
    assert load_table_settings(Stage.PROD).partitions_per_run == 100


def test_the_declaration_of_images_that_is_written_keeps_its_name_whatever_its_table_is(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text(images_declaration("app.Photos", "{every: weekly, start: 2024-07-01}", {"caption": "never: shown"}))

    found = load(file)

    assert (found.mapping.name, found.mapping.schema, found.mapping.table) == ("images", "app", "Photos")
    assert (found.partitions.grain, str(found.partitions.start)) == ("weekly", "2024-07-01")
    assert found.mapping.not_migrated(["caption"]).ignored == {"caption": "never: shown"}
