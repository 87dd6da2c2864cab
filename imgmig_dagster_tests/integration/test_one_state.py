"""One state writes to one table: a second one is refused by name, in any order, however late its tag shows."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from imgmig_dagster.doctor.aws_checks import check_writing_state
from imgmig_dagster.doctor.diagnosis import Health
from imgmig_dagster.errors import ImgmigError, TargetRefused, TargetUnavailable, WritesRefused
from imgmig_dagster.stage.write_guard import allow_writes
from imgmig_dagster.state.identity import known_identity, make_identity
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.target.marks import MarkedTable, claim, ownership, read
from imgmig_dagster.target.open_target import TargetSettings
from imgmig_dagster_tests.arrange import Target, access, item_of
from imgmig_dagster_tests.fault_proxy import Action, Call, FaultProxy, Forward, Reply, error
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.integration.conftest import MakeSettings

LOW, HIGH = "1111", "2222"
Sleep = Callable[[float], None]


def arn_of(target: Target) -> str:
    arn: str = target.client.describe_table(TableName=target.name)["Table"]["TableArn"]
    return arn


def tags_of(target: Target) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in target.client.list_tags_of_resource(ResourceArn=arn_of(target))["Tags"]}


def untag(target: Target, command: str) -> None:
    """Do what a message says to type."""
    arn, _, keys = command.partition("aws dynamodb untag-resource --resource-arn ")[2].partition(" --tag-keys ")
    target.client.untag_resource(ResourceArn=arn, TagKeys=keys.split())


def nobody_waits(_seconds: float) -> None:
    pass


def try_to_claim(
    target: Target, state: str, url: str | None = None, has_begun: bool = False, sleep: Sleep = nobody_waits
) -> ImgmigError | None:
    """The answer to a state that claims the table; None: the table is its own."""
    try:
        claim(access(url or target.url), arn_of(target), state, f"place-{state}", has_begun, sleep=sleep)
    except ImgmigError as refused:
        return refused
    return None


@pytest.fixture
def open_by(settings: MakeSettings) -> Callable[[Path], None]:
    """Opens the table for writing as a run does whose state is in a folder."""

    def open_table(folder: Path) -> None:
        made = settings(IMGMIG_STATE_URL=folder.as_uri())
        writable = allow_writes(made, None, TargetSettings(made.aws(), made.target.table, IMAGE))

        async def call() -> None:
            async with writable.open(IMAGE):
                pass

        asyncio.run(call())

    return open_table


def test_a_second_state_is_refused_by_name_until_the_table_is_handed_over(
    open_by: Callable[[Path], None], target: Target, tmp_path: Path
) -> None:
    target.put(item_of(1))
    before = target.items()
    for _run in range(2):
        open_by(tmp_path / "first")
    with pytest.raises(WritesRefused, match=f"another state writes to the table .*: {tmp_path}/first/dev") as refused:
        open_by(tmp_path / "second")
    assert refused.value.exit_code == 2
    assert target.items() == before

    untag(target, str(refused.value))
    open_by(tmp_path / "second")
    with pytest.raises(WritesRefused, match=f"another state writes to the table .*: {tmp_path}/second/dev"):
        open_by(tmp_path / "first")


def test_a_state_that_was_moved_goes_on(open_by: Callable[[Path], None], target: Target, tmp_path: Path) -> None:
    open_by(tmp_path / "first")
    shutil.move(tmp_path / "first", tmp_path / "elsewhere")
    open_by(tmp_path / "elsewhere")

    marked = read(access(target.url), arn_of(target))
    assert list((marked.places or {}).values()) == [f"{tmp_path}/elsewhere/dev"]


def test_a_table_that_was_made_again_bears_no_mark(
    open_by: Callable[[Path], None], target: Target, tmp_path: Path
) -> None:
    open_by(tmp_path / "first")
    target.client.untag_resource(ResourceArn=arn_of(target), TagKeys=list(tags_of(target)))
    open_by(tmp_path / "first")
    assert len(tags_of(target)) == 1


def none_shows() -> Action:
    async def action(_call: Call, _forward: Forward) -> Reply:
        return Reply(200, b'{"Tags": []}')

    return action


@pytest.mark.parametrize(("first", "second", "winner"), [(LOW, HIGH, LOW), (HIGH, LOW, HIGH)])
@pytest.mark.parametrize("shows_late", [False, True], ids=["at once", "late"])
def test_of_two_that_begin_at_once_one_stays(
    target: Target, proxy: FaultProxy, first: str, second: str, winner: str, shows_late: bool
) -> None:
    """The second one begins and ends while the first one waits for its mark to show."""
    told: dict[str, ImgmigError | None] = {}

    def while_it_waits(_seconds: float) -> None:
        if second not in told:
            if shows_late:
                proxy.inject(none_shows(), "ListTagsOfResource")
            told[second] = try_to_claim(target, second, proxy.url)

    told[first] = try_to_claim(target, first, sleep=while_it_waits)

    assert [state for state, refused in told.items() if refused is None] == [winner]
    loser = told[second]
    assert isinstance(loser, WritesRefused)
    assert f"place-{first} (id {first})" in str(loser)
    assert read(access(target.url), arn_of(target)).others(None).keys() == {winner}


@pytest.mark.parametrize("_time", range(3))
def test_of_threads_that_begin_at_once_one_stays(target: Target, _time: int) -> None:
    told: dict[str, ImgmigError | None] = {}

    def begin(state: str) -> None:
        try:
            claim(access(target.url), arn_of(target), state, state, has_begun=False, shows_after_s=0.2)
            told[state] = None
        except ImgmigError as refused:
            told[state] = refused

    threads = [Thread(target=begin, args=(state,)) for state in (LOW, HIGH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(refused is None for refused in told.values()) == 1, told
    assert len(read(access(target.url), arn_of(target)).others(None)) == 1


def test_one_that_was_killed_while_it_waited_goes_on_with_its_mark(target: Target) -> None:
    def die(_seconds: float) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        try_to_claim(target, LOW, sleep=die)
    assert isinstance(try_to_claim(target, HIGH), WritesRefused)
    assert try_to_claim(target, LOW) is None


def test_one_that_has_begun_is_not_stopped_by_another_that_only_tries(target: Target) -> None:
    assert try_to_claim(target, HIGH) is None
    tag = {"Key": f"imgmig-state-{LOW}", "Value": "place-1111"}
    target.client.tag_resource(ResourceArn=arn_of(target), Tags=[tag])

    assert try_to_claim(target, HIGH, has_begun=True) is None
    assert isinstance(try_to_claim(target, LOW), WritesRefused)


def test_a_mark_that_never_shows_begins_nothing(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(none_shows(), "ListTagsOfResource", times=100)
    assert isinstance(try_to_claim(target, LOW, proxy.url), TargetUnavailable)


@pytest.mark.parametrize("operation", ["ListTagsOfResource", "TagResource"])
def test_a_right_that_lacks_is_named(target: Target, proxy: FaultProxy, operation: str) -> None:
    proxy.inject(error("AccessDeniedException"), operation, times=100)
    refused = try_to_claim(target, LOW, proxy.url)
    assert isinstance(refused, TargetRefused)
    assert f"allow dynamodb:{operation} there, as deploy/iam/ does" in str(refused)


def test_a_table_whose_tags_are_being_changed_is_for_later(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("ResourceInUseException"), "TagResource", times=100)
    assert isinstance(try_to_claim(target, LOW, proxy.url), TargetUnavailable)


def test_a_server_that_knows_no_tags_is_written_to(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("UnknownOperationException"), "ListTagsOfResource", times=100)
    assert try_to_claim(target, LOW, proxy.url) is None
    assert read(access(proxy.url), arn_of(target)) == MarkedTable(arn_of(target), None)


def test_a_mark_holds_what_a_tag_can_hold(target: Target) -> None:
    place = "s3://bucket/ä&b" + "x" * 300
    claim(access(target.url), arn_of(target), LOW, place, has_begun=False, sleep=nobody_waits)
    assert tags_of(target) == {f"imgmig-state-{LOW}": ("s3://bucket/__b" + "x" * 300)[:256]}


def test_a_state_is_named_once(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path)
    assert known_identity(store) is None
    assert make_identity(store) == make_identity(store) == known_identity(store)


@pytest.mark.parametrize(
    ("own", "fault", "assumption"),
    [(LOW, False, False), (HIGH, True, False), (None, True, False)],
)
def test_a_report_is_told_whose_the_table_is(target: Target, own: str | None, fault: bool, assumption: bool) -> None:
    assert try_to_claim(target, LOW) is None
    found = ownership(access(target.url), arn_of(target), own)
    assert (found.fault is not None, found.assumption is not None) == (fault, assumption)
    assert ("place-1111 (id 1111)" in (found.fault or "")) is fault
    if fault:
        untag(target, found.remedy)
    assert (read(access(target.url), arn_of(target)).places == {}) is fault


def test_what_cannot_be_known_of_marks_is_a_fault_or_an_assumption(target: Target, proxy: FaultProxy) -> None:
    assert "it bears no mark" in (ownership(access(target.url), arn_of(target), LOW).assumption or "")
    proxy.inject(error("UnknownOperationException"), "ListTagsOfResource")
    assert "keeps no tags" in (ownership(access(proxy.url), arn_of(target), LOW).assumption or "")
    proxy.inject(error("AccessDeniedException"), "ListTagsOfResource")
    assert "allow dynamodb:ListTagsOfResource" in (ownership(access(proxy.url), arn_of(target), LOW).fault or "")


def test_the_doctor_tells_whose_the_table_is(
    settings: MakeSettings,
    open_by: Callable[[Path], None],
    target: Target,
    proxy: FaultProxy,
    tmp_path: Path,
) -> None:
    assert check_writing_state(settings(IMGMIG_STATE_URL=tmp_path.as_uri()), IMAGE) == (Health.OK, "none yet", "")
    open_by(tmp_path)
    assert check_writing_state(settings(IMGMIG_STATE_URL=tmp_path.as_uri()), IMAGE) == (Health.OK, "this one", "")

    health, found, remedy = check_writing_state(settings(IMGMIG_STATE_URL=(tmp_path / "other").as_uri()), IMAGE)
    assert (health, found.startswith(f"{tmp_path}/dev (id ")) == (Health.FAIL, True)
    untag(target, remedy)
    assert tags_of(target) == {}

    proxy.inject(error("UnknownOperationException"), "ListTagsOfResource")
    health, found, _remedy = check_writing_state(
        settings(IMGMIG_STATE_URL=tmp_path.as_uri(), AWS_ENDPOINT_URL=proxy.url), IMAGE
    )
    assert (health, found) == (Health.WARN, "not known: the server keeps no tags")
