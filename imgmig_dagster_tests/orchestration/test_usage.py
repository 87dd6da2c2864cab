"""What is typed wrong, and what names a partition or a certificate: for people, and for scripts that read JSON."""

from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from imgmig_dagster import __version__
from imgmig_dagster.cli.choice import chosen_partitions
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.window import UNDATED_WINDOW, Window, from_microseconds
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Imgmig


def test_the_version_is_shown(imgmig: Imgmig) -> None:
    shown = imgmig("--version")
    assert (shown.exit_code, shown.stdout) == (0, f"imgmig {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "error"),
    [
        (["migrate", "--force"], 2, "No such option: --force"),
        (["spot-check", "--count", "0"], 2, "Invalid value for '--count'"),
        (["migrat"], 2, "No such command 'migrat'"),
        (["status", "--stage", "production"], 2, "STAGE is 'production'; choose one of dev, staging, prod"),
        (["dry-run", "--partition", "2034-01-15"], 2, "--partition 2034-01-15 is in no partition"),
        (["certificate", "show"], 2, "there is no latest certificate"),
    ],
)
def test_an_error_is_a_document_where_json_was_asked_for(
    imgmig: Imgmig, arguments: list[str], exit_code: int, error: str
) -> None:
    refused = imgmig(*arguments, "--json")
    assert refused.exit_code == exit_code
    (told,) = refused.document["errors"]
    assert told.startswith(error)
    assert error.split()[-1] in refused.stderr, "for people it is on standard error too"


def test_a_day_names_the_partition_that_holds_it(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, range(5)))
    planned = imgmig("dry-run", "--partition", "2024-03-15", "--json").document
    assert [each["partition"] for each in planned["partitions"]] == [MARCH]


class _NobodyAsks:
    """The source, which is not asked where partitions are named."""

    def rows_per_window(self, _windows: object) -> Mapping[str, int]:
        raise AssertionError


def _months() -> list[Window]:
    starts = [datetime(2024, month, 1, tzinfo=timezone.utc) for month in (1, 2, 3, 4)]
    return [Window(start.date().isoformat(), start, end) for start, end in pairwise(starts)]


BUCKETS = [Window(f"bucket-{n}", from_microseconds(n), from_microseconds(n + 1)) for n in range(3)]


@pytest.mark.parametrize(
    ("windows", "names", "keys"),
    [
        (_months(), ["2024-02-29"], ["2024-02-01"]),
        (_months(), ["2024-02-01T23:59:59+02:00"], ["2024-02-01"]),
        (_months(), ["2024-03-31", "2024-01-01", "2024-03-05"], ["2024-01-01", "2024-03-01"]),
        ([*_months(), UNDATED_WINDOW], ["undated"], ["undated"]),
        (BUCKETS, ["bucket-1"], ["bucket-1"]),
    ],
)
def test_partitions_are_named_by_key_or_by_a_day(
    windows: list[Window], names: list[str], keys: list[str], tmp_path: Path
) -> None:
    assert _chosen(windows, names, tmp_path) == keys


@pytest.mark.parametrize(
    ("windows", "name", "message"),
    [
        (_months(), "2024-04-01", "2024-04-01 is in no partition: they go from 2024-01-01 to 2024-03-01$"),
        (_months(), "2023-12-31", "An earlier first one is set by HERE$"),
        (_months(), "march", "there is no partition 'march': .* A day in a partition"),
        (BUCKETS, "1970-01-01", "they go from bucket-0 to bucket-2"),
        ([*_months(), UNDATED_WINDOW], "1970-01-01", "An earlier first one"),
    ],
)
def test_what_names_none_is_refused_with_advice_that_fits(
    windows: list[Window], name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        _chosen(windows, [name], tmp_path)


def _chosen(windows: list[Window], names: list[str], folder: Path) -> list[str]:
    return chosen_partitions(windows, _NobodyAsks(), LocalStateStore(folder), names, None, None, "HERE")


def test_every_certificate_that_is_kept_can_be_listed_and_shown(
    platform: Platform, imgmig: Imgmig, tmp_path: Path
) -> None:
    assert "The state keeps no certificate: imgmig report makes one" in imgmig("certificate", "list").stdout
    platform.source.insert(images_of(3, range(5)))
    imgmig("migrate")
    for _ in range(2):
        imgmig("report")
    kept = sorted((tmp_path / "state/dev/images/certificates").glob("2*"), reverse=True)
    listed = imgmig("certificate", "list", "--json").document
    assert listed["kept"] == 2
    assert [each["certificate"] for each in listed["certificates"]] == [file.stem for file in kept]
    assert {(each["rows"], each["verdict"], each["cutover"]) for each in listed["certificates"]} == {
        (5, "NOT VERIFIED", "NOT READY")
    }
    assert kept[1].stem in imgmig("certificate", "list").stdout
    first, previous = (imgmig("certificate", "show", name, "--json") for name in (kept[1].stem, "previous"))
    assert (first.exit_code, first.document) == (1, previous.document)
    unknown = imgmig("certificate", "show", "2024-01-01T000000.000Z")
    assert (unknown.exit_code, "see imgmig certificate list" in unknown.stderr) == (2, True)
    kept[0].write_bytes(b"{}")
    listed = imgmig("certificate", "list", "--json").document
    assert [each["verdict"] for each in listed["certificates"]] == ["cannot be read", "NOT VERIFIED"]
