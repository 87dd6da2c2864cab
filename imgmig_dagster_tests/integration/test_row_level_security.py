"""Row-level security hides rows without a word: nothing is read through it, and nothing is deleted for its sake."""

from dataclasses import replace

import pytest

from imgmig_dagster.doctor.diagnosis import Health
from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.servers import KnownServers
from imgmig_dagster_tests.arrange import MARCH, Migration, Source, image, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy
from imgmig_dagster_tests.integration.test_doctor import of_source

REMEDY = "ALTER ROLE imgmig_reader BYPASSRLS"


def hide_half(source: Source) -> None:
    source.execute("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY")
    source.execute("CREATE POLICY half ON {t} FOR SELECT TO imgmig_reader USING (width IS NULL)")


def test_the_doctor_names_role_table_and_remedy(source: Source) -> None:
    source.insert([image(1), image(2, width=None)])
    assert of_source(source)["row-level security"].health is Health.OK
    hide_half(source)

    found = of_source(source)["row-level security"]

    assert found.health is Health.FAIL
    assert all(each in found.found for each in ("table images", "role imgmig_reader", REMEDY))


@pytest.mark.parametrize("policy", [True, False], ids=["a policy", "none, which hides every row"])
def test_no_row_is_read_through_it(source: Source, policy: bool) -> None:
    source.insert([image(1), image(2, width=None)])
    if policy:
        hide_half(source)
    else:
        source.execute("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY")

    with source.reader() as reader, pytest.raises(SourceRefused, match="row-level security of table images") as caught:
        list(reader.pages(MARCH, None, 10))

    assert REMEDY in str(caught.value)
    assert (caught.value.exit_code, caught.value.retryable) == (2, False)


def test_with_the_remedy_every_row_is_read(source: Source) -> None:
    source.insert([image(1), image(2, width=None)])
    hide_half(source)
    source.execute("ALTER ROLE imgmig_reader BYPASSRLS")
    try:
        with source.reader() as reader:
            assert reader.count(MARCH) == 2
        assert of_source(source)["row-level security"].health is Health.OK
    finally:
        source.execute("ALTER ROLE imgmig_reader NOBYPASSRLS")


@pytest.mark.parametrize("rights", ["security_invoker = true", "security_invoker = false"])
def test_a_view_over_it_is_no_way_round(source: Source, services: Services, rights: str) -> None:
    """With its owner's rights the policies for the owner filter: they are forced on it here."""
    source.insert([image(1), image(2, width=None)])
    hide_half(source)
    source.execute("ALTER TABLE {t} FORCE ROW LEVEL SECURITY")
    services.owner.execute("DROP ROLE IF EXISTS owner_of_a_view")
    services.owner.execute("CREATE ROLE owner_of_a_view")
    try:
        view = f'"{source.schema}".a_view'
        source.execute(f"CREATE VIEW {view} WITH ({rights}) AS TABLE {{t}}")
        source.execute(f'GRANT ALL ON SCHEMA "{source.schema}" TO owner_of_a_view')
        source.execute("GRANT SELECT ON {t} TO owner_of_a_view")
        source.execute(f"ALTER VIEW {view} OWNER TO owner_of_a_view")
        source.execute(f"GRANT SELECT ON {view} TO imgmig_reader")
        connection = ReadOnlyConnections(source.url, known=KnownServers())

        with pytest.raises(SourceRefused, match="row-level security of table images"):
            connection.fetch(f"TABLE {view}")
        found = of_source(Source(source.owner, source.url, source.schema, "a_view"))["row-level security"]

        assert found.health is Health.FAIL
        connection.close()
    finally:
        source.execute("DROP OWNED BY owner_of_a_view; DROP ROLE owner_of_a_view")


def test_the_doctor_finds_it_behind_a_function_too(source: Source, services: Services) -> None:
    source.insert([image(1), image(2, width=None)])
    hide_half(source)
    schema = f'"{source.schema}"'
    services.owner.execute("DROP ROLE IF EXISTS owner_of_a_function")
    services.owner.execute("CREATE ROLE owner_of_a_function")
    try:
        source.execute(f"GRANT ALL ON SCHEMA {schema} TO owner_of_a_function")
        source.execute("GRANT SELECT ON {t} TO owner_of_a_function")
        source.execute(
            f"CREATE FUNCTION {schema}.f() RETURNS SETOF {{t}} LANGUAGE sql STABLE SECURITY DEFINER AS 'TABLE {{t}}'"
        )
        source.execute(f"ALTER FUNCTION {schema}.f() OWNER TO owner_of_a_function")
        source.execute(f"CREATE VIEW {schema}.a_view AS SELECT * FROM {schema}.f()")  # noqa: S608
        source.execute(f"GRANT SELECT ON {schema}.a_view TO imgmig_reader")

        found = of_source(replace(source, table="a_view"))["row-level security"]

        assert (found.health, "table images" in found.found) == (Health.FAIL, True)
    finally:
        source.execute("DROP OWNED BY owner_of_a_function CASCADE; DROP ROLE owner_of_a_function")


def test_a_role_that_the_url_sets_is_the_one_that_counts(source: Source, services: Services) -> None:
    source.insert([image(1), image(2, width=None)])
    hide_half(source)
    services.owner.execute("DROP ROLE IF EXISTS who_sees_all")
    services.owner.execute("CREATE ROLE who_sees_all BYPASSRLS")
    try:
        source.execute(f'GRANT USAGE ON SCHEMA "{source.schema}" TO who_sees_all')
        source.execute("GRANT SELECT ON {t} TO who_sees_all")
        services.owner.execute("GRANT who_sees_all TO imgmig_reader")

        found = of_source(replace(source, url=f"{source.url}?options=-crole%3Dwho_sees_all"))

        assert found["row-level security"].health is Health.OK
        assert found["role"].found.startswith("who_sees_all may only SELECT")
        # PostgreSQL shows a session's encryption to the role that logged in alone.
        assert found["encryption"].found == "not encrypted"
    finally:
        source.execute("DROP OWNED BY who_sees_all; DROP ROLE who_sees_all")


def test_one_that_is_switched_on_in_the_middle_of_a_pass_ends_it_and_deletes_nothing(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert(image(number, width=None if number % 2 else 5) for number in range(200))
    written: list[int] = []

    def switch_on() -> None:
        written.append(len(migration.target.items()))
        hide_half(migration.source)

    proxy.after(switch_on, NEW_ITEMS, when=lambda call: row_id(90) in call.ids)

    with pytest.raises(SourceRefused, match="row-level security"):
        migration.migrate(proxy.url, page_size=20)

    assert len(migration.target.items()) >= written[0] > 80
    assert migration.checkpoint is not None
    migration.source.execute("ALTER TABLE {t} DISABLE ROW LEVEL SECURITY")
    assert migration.migrate(page_size=20, run_id="run-2").resumes == 1
    assert migration.verify().passed


def test_neither_a_verification_nor_a_census_judges_what_it_leaves(migration: Migration) -> None:
    migration.source.insert(image(number, width=None if number % 2 else 5) for number in range(10))
    migration.migrate()
    hide_half(migration.source)

    for judge in (migration.verify, migration.census):
        with pytest.raises(SourceRefused, match=REMEDY):
            judge()
    assert len(migration.target.items()) == 10
