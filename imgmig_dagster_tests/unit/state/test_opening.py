"""Which store the settings name."""

from pathlib import Path

import pytest

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.state.opening import open_state, table_state
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import access

ACCESS = access("http://127.0.0.1:1")


@pytest.mark.parametrize("form", ["{}", "{}/"])
def test_a_stages_state_lies_below_the_url_of_the_settings(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "with a space"

    store = open_state(form.format(folder.as_uri()), "staging", ACCESS)

    assert store.locate("p/a") == str(folder / "staging" / "p" / "a")


def test_a_bucket_holds_the_state_below_its_prefix() -> None:
    store = open_state("s3://bucket/some/prefix/", "prod", ACCESS)

    assert store.locate("p/a").endswith("bucket/some/prefix/prod/p/a")


@pytest.mark.parametrize(
    "url", ["s3:///prefix", "/var/lib/imgmig", "file://elsewhere/state", "http://x", "file://", ""]
)
def test_a_url_without_a_back_end_is_refused_by_the_settings_name(url: str) -> None:
    with pytest.raises(SettingsError, match=r"url in \[state\]"):
        open_state(url, "dev", ACCESS)


@pytest.mark.parametrize(
    ("left", "table", "place"),
    [
        ([], "images", "images/a"),
        ([], "orders", "orders/a"),
        (["2024-03-01/evidence.json"], "images", "a"),
        (["2024-03-01/evidence.json"], "orders", "orders/a"),
        (["state-id.json", "target.json", "throttle.json"], "images", "images/a"),
        (["images/2024-03-01/evidence.json"], "images", "images/a"),
        (["orders/2024-03-01/evidence.json"], "images", "images/a"),
    ],
)
def test_a_tables_state_is_a_folder_of_its_stages_but_where_the_first_version_left_one(
    tmp_path: Path, left: list[str], table: str, place: str
) -> None:
    stage = LocalStateStore(tmp_path)
    for name in left:
        stage.write(name, b"{}")

    assert table_state(stage, table).locate("a") == str(tmp_path / place)
