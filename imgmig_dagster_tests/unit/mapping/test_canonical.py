"""One spelling per item: equal for what DynamoDB means as equal, different for everything else."""

import pytest

from imgmig_dagster.mapping.canonical import canonical_item
from imgmig_dagster.mapping.rows import Item

NESTED: Item = {
    "tags": {"SS": ["b", "a"]},
    "sizes": {"NS": ["2", "10"]},
    "parts": {"BS": ["eg==", "AA=="]},
    "list": {"L": [{"S": "z"}, {"SS": ["y", "x"]}]},
    "map": {"M": {"n": {"L": [{"NS": ["2", "1"]}]}, "m": {"S": "v"}}},
    "plain": {"N": "7"},
}


def test_the_spelling_is_json_with_names_and_sets_in_order_and_no_white_space() -> None:
    assert canonical_item(NESTED) == (
        b'{"list":{"L":[{"S":"z"},{"SS":["x","y"]}]},'
        b'"map":{"M":{"m":{"S":"v"},"n":{"L":[{"NS":["1","2"]}]}}},'
        b'"parts":{"BS":["AA==","eg=="]},'
        b'"plain":{"N":"7"},'
        b'"sizes":{"NS":["10","2"]},'
        b'"tags":{"SS":["a","b"]}}'
    )


def test_letters_are_themselves_and_a_lone_surrogate_has_a_spelling_too() -> None:
    assert canonical_item({"é": {"S": "長\ud800"}}) == '{"é":{"S":"長\ud800"}}'.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "other",
    [
        {"a": {"N": "1"}},
        {"a": {"S": "2"}},
        {"b": {"S": "1"}},
        {"a": {"L": [{"S": "1"}]}},
        {"a": {"M": {"a": {"S": "1"}}}},
        {"a": {"S": "1"}, "b": {"S": "1"}},
    ],
)
def test_another_type_value_or_name_is_another_spelling(other: Item) -> None:
    assert canonical_item(other) != canonical_item({"a": {"S": "1"}})


def test_the_order_of_a_list_is_kept() -> None:
    one, two = {"S": "1"}, {"S": "2"}
    assert canonical_item({"a": {"L": [one, two]}}) != canonical_item({"a": {"L": [two, one]}})
