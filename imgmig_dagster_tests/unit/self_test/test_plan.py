"""What the self-test plants, and how it judges what was named: a self-test that cannot fail would prove nothing."""

from itertools import chain

import pytest

from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.sandbox.seed import synthetic_rows
from imgmig_dagster.self_test.judgement import UNTOUCHED, judge
from imgmig_dagster.self_test.planting import MISSING, ORPHAN, Plant, draw_plants
from imgmig_dagster_tests.arrange import item_of, row_id
from imgmig_dagster_tests.images import IMAGE

NULL = {"NULL": True}


def items(count: int) -> list[Item]:
    """Items among which every kind of change finds some."""
    nulls = {"thumbnailS3Key": NULL, "width": NULL, "height": NULL}
    return [
        item_of(
            number,
            originalFilename={"S": "" if number % 9 == 0 else f"IMG_{number}.jpg"},
            sizeBytes={"N": str(2**53 + 1 + number)},
            width={"N": str(4_032 + number)},
            height={"N": "3024"},
            createdAt={"S": f"2024-03-{1 + number % 31:02}T00:00:00.123Z"},
        )
        | (nulls if number % 3 == 0 else {})
        for number in range(count)
    ]


def drawn(seed: int = 1, count: int = 300) -> list[Plant]:
    return draw_plants(IMAGE, items(2 * count), seed, harmful=count, harmless=count // 4, orphans=5)


def test_every_kind_is_planted_on_every_field_that_lends_itself_to_it() -> None:
    planted: dict[str, set[str]] = {}
    for plant in drawn():
        if plant.harmful:
            planted.setdefault(plant.kind, set()).update(attribute for _row_id, attribute in plant.named)

    every = {field.attribute for field in IMAGE.fields}
    by_type = {kind: {field.attribute for field in IMAGE.fields if field.type is kind} for kind in FieldType}
    swapped = planted.pop("two items swapped")
    assert {"createdAt", "originalFilename", "s3Key", "sizeBytes"} <= swapped <= every
    assert planted == {
        "wrong value": every,
        "attribute missing": every,
        "value became NULL": every,
        "type changed": every,
        "'' became NULL": {"originalFilename"},
        "NULL became '' or 0": {"thumbnailS3Key", "width", "height"},
        "precision lost": by_type[FieldType.INTEGER],
        "wrong below a double's precision": {"sizeBytes"},
        "off by 1 second": by_type[FieldType.TIMESTAMP],
        "off by a time zone": by_type[FieldType.TIMESTAMP],
        "item deleted": {MISSING},
        "orphan added": {ORPHAN},
    }


def test_as_many_are_planted_as_were_asked_for_each_on_items_of_its_own() -> None:
    plants = drawn()
    touched = list(chain.from_iterable(plant.ids for plant in plants))

    assert sum(plant.harmful for plant in plants) == 300
    assert sum(not plant.harmful for plant in plants) == 75
    assert sum(plant.kind == "orphan added" for plant in plants) in range(1, 6)
    assert len(touched) == len(set(touched))


def test_every_plant_changes_something_and_only_a_harmful_one_has_a_name() -> None:
    before = {str(IMAGE.row_id(item)): item for item in items(600)}

    for plant in drawn():
        assert bool(plant.named) is plant.harmful
        assert plant.delete or all(before.get(str(IMAGE.row_id(item))) != item for item in plant.put)
        if plant.kind == "two items swapped":
            assert len(plant.ids) == len(plant.put) == 2


@pytest.mark.parametrize("seed", range(4))
def test_orphans_are_none_of_the_rows_that_the_same_seed_makes(seed: int) -> None:
    made = {str(row.id) for row in synthetic_rows(2_000, seed)}

    for plant in draw_plants(IMAGE, items(400), seed, harmful=150, harmless=20, orphans=5):
        assert plant.kind != "orphan added" or not plant.ids & made


def test_the_same_seed_plants_the_same_and_another_does_not() -> None:
    assert drawn(seed=7) == drawn(seed=7)
    assert drawn(seed=7) != drawn(seed=8)


def test_too_few_items_are_an_error_and_no_smaller_test() -> None:
    with pytest.raises(ValueError, match="more items are needed"):
        draw_plants(IMAGE, items(200), 1, harmful=300, harmless=10, orphans=5)


WRONG = Plant("wrong value", True, frozenset({row_id(1)}), named=frozenset({(row_id(1), "width")}))
SWAPPED = Plant(
    "two items swapped",
    True,
    frozenset({row_id(2), row_id(3)}),
    named=frozenset({(row_id(2), "width"), (row_id(3), "width")}),
)
HARMLESS = Plant("version raised", False, frozenset({row_id(4)}))
PLANTS = (WRONG, SWAPPED, HARMLESS)
ALL = WRONG.named | SWAPPED.named


def test_what_was_named_in_full_and_nothing_besides_is_clean() -> None:
    judgement = judge(PLANTS, 5, ALL)

    assert judgement.clean
    assert [(kind.kind, kind.planted, kind.named, kind.missed, kind.false) for kind in judgement.kinds] == [
        ("wrong value", 1, 1, 0, 0),
        ("two items swapped", 1, 1, 0, 0),
        ("version raised", 1, 0, 0, 0),
        (UNTOUCHED, 5, 0, 0, 0),
    ]


def test_a_corruption_that_was_named_on_one_of_its_keys_only_is_missed() -> None:
    judgement = judge(PLANTS, 5, ALL - {(row_id(3), "width")})

    assert not judgement.clean
    assert judgement.missed == ((row_id(3), "width"),)
    assert [(kind.named, kind.missed) for kind in judgement.kinds] == [(1, 0), (0, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("number", "kind"), [(1, "wrong value"), (4, "version raised"), (9, UNTOUCHED)], ids=["other field", "harmless", ""]
)
def test_what_was_named_besides_is_a_false_alarm_of_its_kind(number: int, kind: str) -> None:
    judgement = judge(PLANTS, 5, ALL | {(row_id(number), "height")})

    assert not judgement.clean
    assert judgement.false == ((row_id(number), "height"),)
    assert [tally.kind for tally in judgement.kinds if tally.false] == [kind]


def test_naming_the_wrong_field_is_both() -> None:
    judgement = judge([WRONG], 0, {(row_id(1), "height")})

    assert (judgement.missed, judgement.false) == (((row_id(1), "width"),), ((row_id(1), "height"),))
