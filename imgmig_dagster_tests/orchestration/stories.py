"""The commands of the documents in an order in which they can be typed, with what they print and end with.

`KEY` in a command is March's partition; `FILE` is a file in the current directory, the review of the last sample.
"""

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Source, Target, item_of, row_id
from imgmig_dagster_tests.orchestration.arrange import MARCH, saved_review
from imgmig_dagster_tests.orchestration.commands import CommandServer

FEBRUARYS, MARCHS = range(12), range(20, 32)


@dataclass(frozen=True)
class Step:
    """A command as the documents spell it, its exit code, and words that it prints.

    `alongside` is what is typed in another terminal while it runs.
    """

    command: str
    exit_code: int
    says: str
    alongside: "Sequence[Step]" = ()


@dataclass(frozen=True)
class Desk:
    """Where commands are typed: a current directory, with the state of a stage at hand."""

    commands: CommandServer
    folder: Path
    stage: str
    state: LocalStateStore
    environment: dict[str, str]

    def follow(self, step: Step) -> None:
        """Type a command, wait for its end, and hold it against what is expected."""
        _imgmig, *words = shlex.split(step.command.replace("KEY", MARCH))
        started = self.commands.start(*words, environment=self.environment, folder=self.folder)
        for each in step.alongside:
            self.follow(each)
        finished = started.wait()
        printed = finished.stdout + finished.stderr
        assert "Traceback" not in printed
        assert (finished.exit_code, step.says if step.says in printed else printed) == (step.exit_code, step.says), (
            f"{step.command} ended with {finished.exit_code}:\n{printed}"
        )


@dataclass(frozen=True)
class Stage(Desk):
    """A desk from which the source and the target of the stage can be reached, past all of our code."""

    source: Source
    target: Target


DeskT = TypeVar("DeskT", bound=Desk)
Story: TypeAlias = Sequence[Step | Callable[[DeskT], None]]


def follow(desk: DeskT, story: Story[DeskT]) -> None:
    """Type the commands of a story in their order; between them other things happen."""
    for each in story:
        if isinstance(each, Step):
            desk.follow(each)
        else:
            each(desk)


def steps_of(story: Story[DeskT]) -> list[Step]:
    """The commands of a story."""
    steps = [each for each in story if isinstance(each, Step)]
    return [*steps, *(inner for each in steps for inner in each.alongside)]


def a_person_finds_every_image_fine(desk: Desk) -> None:
    (desk.folder / "FILE").write_text(json.dumps(saved_review(desk.state, desk.stage)))


def a_row_becomes_one_that_no_item_can_hold(stage: Stage) -> None:
    stage.source.update(30, updated_at="infinity")


def the_row_is_mended(stage: Stage) -> None:
    stage.source.update(30)


def a_checkpoint_is_damaged(stage: Stage) -> None:
    stage.state.write(f"{MARCH}/migration-progress.json", b"{")


def items_are_changed_lost_and_left_over(stage: Stage) -> None:
    stage.target.put({**_item(stage, 21), "width": {"N": "1"}})
    newer = {"updatedAt": {"S": "2025-01-01T00:00:00.000Z"}, "version": {"N": "2"}}
    stage.target.put({**_item(stage, 22), **newer})
    stage.target.delete(23)
    stage.target.put(item_of(77))


def the_application_writes_every_item(stage: Stage) -> None:
    for month, numbers in ((2, FEBRUARYS), (3, MARCHS)):
        for number in numbers:
            created = f"2024-{month:02}-10T00:00:00.000Z"
            stage.target.put(item_of(number, createdAt={"S": created}))


def an_item_is_changed(stage: Stage) -> None:
    stage.target.put({**_item(stage, 21), "width": {"N": "1"}})


def the_item_is_changed_back(stage: Stage) -> None:
    stage.target.put({**_item(stage, 21), "width": {"N": "640"}})


def a_row_stands_in_the_ledger(stage: Stage) -> None:
    FailureLedger(stage.state, MARCH).record([Failure(row_id(21), None, "ThrottlingException", "throttled", False)])


def the_ledger_is_empty(stage: Stage) -> None:
    FailureLedger(stage.state, MARCH).record([], [row_id(21)])


def _item(stage: Stage, number: int) -> dict[str, dict[str, str]]:
    found = stage.target.item(number)
    assert found is not None
    return found


# Of the tables in docs/scale.md.
SCALE = " ".join(f"--rows {10**power}" for power in range(5, 11)) + " --partitions 3650"

STAGING: Story[Stage] = (
    Step("imgmig plan", 2, "Missing option '--rows'"),
    Step("imgmig plan --rows 100000000 --partitions 3650 --runs 8 --rate 20000", 0, "100,000,000 rows take "),
    Step(f"imgmig plan {SCALE} --runs 8 --markdown", 0, "| 10,000,000,000 |"),
    Step(f"imgmig plan {SCALE} --runs 40 --write-mode batch --mode provisioned --markdown", 0, "| 10,000,000,000 |"),
    Step("imgmig init --stage staging", 0, "Wrote stages/staging.toml"),
    Step("imgmig doctor --stage staging", 0, "0 fail"),
    Step("imgmig status --stage staging", 0, MARCH),
    Step("imgmig dry-run --stage staging", 0, "A migration would write 24 of 24 rows: 24 write units"),
    Step("imgmig dry-run --stage staging --partition KEY", 0, "A migration would write 12 of 12 rows"),
    Step("imgmig throttle pause --stage staging", 0, "stage staging: paused, no ceiling"),
    Step("imgmig throttle resume --stage staging", 0, "stage staging: running, no ceiling"),
    Step(
        "imgmig throttle --rate 200 --stage staging",
        0,
        "stage staging: running, ceiling 200 units/s of all runs together",
    ),
    Step("imgmig throttle --stage staging", 0, "running, ceiling 200 units/s of all runs together"),
    Step("imgmig throttle --rate 0 --stage staging", 0, "stage staging: running, no ceiling"),
    a_row_becomes_one_that_no_item_can_hold,
    Step("imgmig migrate --stage staging --partition KEY", 1, f"{MARCH}: {row_id(30)}: updated_at: "),
    Step("imgmig retry-failures --stage staging", 1, "1 row is still in the ledgers of 1 partition"),
    Step("imgmig retry-failures --stage staging --partition KEY", 1, "1 row is still in the ledgers of 1 partition"),
    the_row_is_mended,
    Step("imgmig retry-failures --stage staging", 0, "0 rows are still in the ledgers"),
    Step("imgmig migrate --stage staging", 0, "Total 24, migrated 12, skipped 12, failed 0"),
    a_checkpoint_is_damaged,
    Step("imgmig migrate --stage staging --partition KEY", 2, f"--partition {MARCH} --start-over"),
    Step("imgmig migrate --stage staging --partition KEY --start-over", 0, "12 identical"),
    Step("imgmig verify --stage staging", 0, "Verdict: PASS"),
    Step("imgmig spot-check --stage staging --count 50", 0, "24 images drawn"),
    a_person_finds_every_image_fine,
    Step("imgmig spot-check --stage staging --review FILE", 0, "24 images reviewed, 0 with an issue"),
    Step("imgmig report --stage staging", 0, "Verdict: PASS"),
    Step("imgmig certificate diff --stage staging", 1, "certificate: cutover: NOT READY -> READY"),
    items_are_changed_lost_and_left_over,
    Step("imgmig verify --stage staging --partition KEY", 1, f"mismatch: {row_id(21)}: width"),
    Step("imgmig verify --stage staging", 1, "1 orphan item, "),
    Step("imgmig repair --stage staging", 1, f"{MARCH}: {row_id(21)}: would be updated"),
    Step("imgmig repair --stage staging --partition KEY", 1, f"{MARCH}: {row_id(21)}: would be updated"),
    Step("imgmig repair --stage staging --delete-orphans", 1, f"orphan: {row_id(77)}: would be deleted"),
    Step("imgmig repair --stage staging --partition KEY --apply", 1, f"{MARCH}: {row_id(21)}: updated"),
    Step("imgmig repair --stage staging --apply", 1, f"{MARCH}: {row_id(22)}: newer in the target, left alone"),
    Step("imgmig repair --stage staging --apply --source-wins", 1, f"{MARCH}: {row_id(22)}: updated"),
    Step("imgmig repair --stage staging --partition KEY --apply --source-wins", 0, "Verified 0 rows"),
    Step("imgmig repair --stage staging --apply --delete-orphans", 0, f"orphan: {row_id(77)}: deleted"),
    Step("imgmig verify --stage staging", 0, "Verdict: PASS"),
)


def the_certificate_is_at_hand(desk: Stage) -> None:
    """It was handed on as a file."""
    found = desk.state.read("reports/certificate.json")
    assert found
    (desk.folder / "certificate.json").write_bytes(found.content)


# Everything that reads goes to its end, by TLS; whatever writes finds out that this DynamoDB is not AWS's.
NOT_AWS = "writes to images-prod in prod are refused: the endpoint"
PROD: Story[Stage] = (
    Step("imgmig doctor --stage prod", 1, "1 fail"),
    Step("imgmig dry-run --stage prod", 0, "A migration would write 24 of 24 rows"),
    Step("imgmig throttle --stage prod", 0, "stage prod: running, ceiling 2,000 units/s of all runs together"),
    Step("imgmig throttle --rate 200 --stage prod", 0, "stage prod: running, ceiling 200 units/s of all runs together"),
    Step("imgmig migrate --stage prod", 2, "writes to images-prod in prod are not confirmed"),
    Step("imgmig migrate --stage prod --partition KEY --confirm images-prod", 2, NOT_AWS),
    Step("imgmig migrate --stage prod --confirm images-prod", 2, NOT_AWS),
    the_application_writes_every_item,
    an_item_is_changed,
    Step("imgmig verify --stage prod --partition KEY", 1, f"mismatch: {row_id(21)}: width"),
    Step("imgmig repair --stage prod --apply --confirm images-prod", 2, NOT_AWS),
    a_row_stands_in_the_ledger,
    Step("imgmig retry-failures --stage prod --confirm images-prod", 2, NOT_AWS),
    the_ledger_is_empty,
    the_item_is_changed_back,
    Step("imgmig verify --stage prod --partition KEY", 0, "Verified 12 rows"),
    Step("imgmig verify --stage prod", 0, "Verdict: PASS"),
    Step("imgmig spot-check --stage prod --count 50", 0, "24 images drawn"),
    a_person_finds_every_image_fine,
    Step("imgmig spot-check --stage prod --review FILE", 0, "24 images reviewed, 0 with an issue"),
    Step("imgmig report --stage prod", 0, "Verdict: PASS"),
    Step("imgmig status --stage prod", 0, "PASS"),
    Step("imgmig certificate show latest --stage prod", 0, "Verdict: PASS. Cutover: READY"),
    Step(
        "imgmig certificate verify latest --stage prod --public-key cutover.pem", 0, "by the key in cutover.pem. Nobody"
    ),
    Step("imgmig certificate verify --stage prod --public-key cutover.pem", 0, "Verdict: PASS. Cutover: READY"),
    the_certificate_is_at_hand,
    Step("imgmig certificate verify certificate.json --public-key cutover.pem", 0, "Cutover: READY"),
    Step("imgmig certificate diff previous latest --stage prod", 1, "certificate: cutover: NOT READY -> READY"),
)

# Stage dev in a sandbox of one's own, from the first command to the last.
SANDBOX: Story[Desk] = (
    Step("imgmig mapping schema", 0, '"$schema": "https://json-schema.org/draft/2020-12/schema"'),
    Step("imgmig mapping show", 0, "| `size_bytes` | `sizeBytes` | integer | rejected | exact |"),
    Step("imgmig sandbox start", 0, "PostgreSQL  running on 127.0.0.1:"),
    Step("imgmig sandbox seed --csv my-images.csv", 0, "The source holds 600 images"),
    Step("imgmig sandbox status", 0, "images      600"),
    Step("imgmig sandbox env", 0, "export IMGMIG_SOURCE_URL="),
    Step("imgmig mapping show --sample 3", 0, "is the item PK = IMAGE#"),
    Step("imgmig demo", 0, "Verdict: PASS"),
    Step(
        "imgmig sandbox dual-write --seconds 30",
        0,
        "insert: ",
        alongside=(
            Step("imgmig dry-run", 0, "Nothing was written."),
            Step("imgmig migrate", 0, "failed 0 in "),
            Step("imgmig retry-failures", 0, "No ledger holds a row."),
            Step("imgmig status", 0, MARCH),
            Step("imgmig verify --self-test", 0, "1,000 of 1,000 corruptions named by key and field"),
        ),
    ),
    Step("imgmig spot-check", 0, "50 images drawn"),
    Step("imgmig spot-check --count 50", 0, "50 images drawn"),
    a_person_finds_every_image_fine,
    Step("imgmig spot-check --review FILE", 0, "50 images reviewed, 0 with an issue"),
    Step("imgmig verify", 0, "Verdict: PASS"),
    Step("imgmig report", 0, "Verdict: PASS"),
    Step("imgmig repair", 0, "Nothing to repair."),
    Step("imgmig repair --delete-orphans", 0, "Nothing to repair."),
    Step("imgmig repair --apply --delete-orphans", 0, "Verified 0 rows"),
    Step("imgmig verify --only-failed", 0, "Verdict: PASS"),
    Step("imgmig certificate show", 0, "Verdict: PASS. Cutover: READY"),
    Step("imgmig certificate list", 0, "PASS      READY"),
    Step("imgmig certificate verify", 0, "No signature: nothing in the file says who made it."),
    Step("imgmig certificate diff", 1, "census: began at: "),
    Step("imgmig sandbox stop", 0, "Stopped."),
    Step("imgmig sandbox seed --csv images.csv", 0, "The source holds 600 images"),
    # Nobody answers the question whether everything is to be deleted.
    Step("imgmig sandbox reset", 1, "Aborted."),
    Step("imgmig sandbox reset --yes", 0, "PostgreSQL  running on 127.0.0.1:"),
    Step("imgmig sandbox delete --yes", 0, ""),
)


def the_file_of_the_stage_is_filled_in(stage: Stage) -> None:
    """By its first comment for each of these settings, from top to bottom."""
    path = stage.folder / "stages" / f"{stage.stage}.toml"
    text = path.read_text(encoding="utf-8")
    said = (("url", stage.source.url), ("table", stage.target.name), ("url", (stage.folder / "state").as_uri()))
    for key, value in (*said, ("allow_insecure", "loopback")):
        text, count = re.subn(rf"^# {key} = .*$", f'{key} = "{value}"', text, count=1, flags=re.MULTILINE)
        assert count == 1, key
    path.write_text(text, encoding="utf-8")


def the_draft_is_moved_away(desk: Desk) -> None:
    (desk.folder / "mappings" / "photos.yaml").unlink()


# The table of one's own.
PHOTOS = """CREATE SCHEMA app;
CREATE TYPE app.visibility AS ENUM ('public', 'private');
CREATE TABLE app.photos (
    album bigint, no smallint, title text NOT NULL, "takenAt" timestamp, created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL, visibility app.visibility, exif jsonb, tags text[], checksum bytea,
    latitude double precision, price numeric(12, 4), is_cover boolean, printed_on date, PRIMARY KEY (album, no)
);
CREATE INDEX ON app.photos (created_at, album, no);
INSERT INTO app.photos
SELECT n / 10, n % 10, 'photo ' || n || ' ü', '2024-01-31 12:00:00'::timestamp + n * interval '1 hour',
       '2024-02-01Z'::timestamptz + n * interval '9 hours', '2024-06-01Z',
       (ARRAY['public', 'private', NULL])[n % 3 + 1]::app.visibility,
       jsonb_build_object('iso', n * 100, 'lens', NULL, 'f', 1.80), ARRAY['a', 'b' || n], decode(md5(n::text), 'hex'),
       n / 7.0, n * 1.05, n % 2 = 0, '2024-01-31'::date + n
FROM generate_series(1, 200) n;
"""

# The same with a table of one's own.
OWN_TABLE: Story[Desk] = (
    Step("imgmig sandbox start", 0, "PostgreSQL  running on 127.0.0.1:"),
    Step("imgmig sandbox load photos.sql --table app.photos", 0, "app.photos holds 200 rows."),
    the_draft_is_moved_away,
    Step("imgmig mapping draft app.photos --output mappings/photos.yaml", 0, "mappings/photos.yaml"),
    Step("imgmig mapping check mappings/photos.yaml", 0, "0 fail"),
    Step("imgmig mapping check --table photos", 0, "0 fail"),
    Step("imgmig migrate --table photos", 0, "failed 0 in "),
    Step("imgmig verify --table photos", 0, "Verdict: PASS"),
    Step("imgmig verify --self-test --table photos", 0, "corruptions named by key and field"),
    Step("imgmig sandbox dual-write --table photos --seconds 10", 0, "insert: "),
    Step("imgmig sandbox delete --yes", 0, ""),
)

# A stage of one's own, from an empty folder to the certificate.
OWN_STAGE: Story[Stage] = (
    Step("imgmig init --stage staging", 0, "Wrote stages/staging.toml"),
    the_file_of_the_stage_is_filled_in,
    Step("imgmig mapping draft app.photos --stage staging --output mappings/photos.yaml", 0, "mappings/photos.yaml"),
    Step("imgmig mapping check --stage staging", 0, "0 fail"),
    Step("imgmig mapping show --stage staging", 0, "| `takenAt` |"),
    Step("imgmig doctor --stage staging", 0, "0 fail"),
    Step("imgmig dry-run --stage staging", 0, "A migration would write 200 of 200 rows"),
    Step("imgmig migrate --stage staging", 0, "Total 200, migrated 200, skipped 0, failed 0"),
    Step("imgmig verify --stage staging", 0, "Verdict: PASS"),
    Step("imgmig spot-check --stage staging --count 50", 0, "50 rows drawn"),
    a_person_finds_every_image_fine,
    Step("imgmig spot-check --stage staging --review FILE", 0, "50 rows reviewed, 0 with an issue"),
    Step("imgmig report --stage staging", 0, "Verdict: PASS"),
    Step("imgmig certificate show --stage staging", 0, "Cutover: READY"),
)

# What a target runs, tested where the target is.
RUN_BY: dict[str, str] = {"imgmig rehearse": "make rehearsal", "imgmig ui": "make ui"}

# Where the suite, or what has to pass before a change lands, makes a target; the others are long, and made by hand.
MADE_BY: dict[str, str] = {
    "make bench": "by hand",
    "make bench-partitions": "by hand",
    "make bench-scale": "by hand",
    "make check": ".ci/run",
    "make demo": "imgmig demo",
    "make hosts": "orchestration/test_several_hosts.py"
    "::test_the_runs_of_a_worker_that_is_killed_are_retried_on_another",
    "make install": "by hand",
    "make mutants": "by hand",
    "make rehearsal": "e2e/test_rehearsal.py::test_the_rehearsal_passes_and_leaves_nothing_running",
    "make test": ".ci/run",
    "make test-e2e": ".ci/run",
    "make test-poolers": ".ci/run",
    "make torture": "torture/test_torture.py::test_a_pass_that_dies_at_every_point_comes_to_an_exact_result",
    "make ui": "orchestration/test_ui.py::test_the_ui_comes_up_with_the_definitions_and_sigterm_ends_all_of_it",
}
