import pytest

from imgmig_dagster.drafting.table_name import schema_and_table
from imgmig_dagster.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("images", ("public", "images")),
        ("app.images", ("app", "images")),
        ("App.My Photos", ("App", "My Photos")),
        ('"a.b".c', ("a.b", "c")),
        ('app."c.d"', ("app", "c.d")),
        ('"say ""x"""', ("public", 'say "x"')),
        ("100 %", ("public", "100 %")),
    ],
)
def test_a_tables_name(text: str, names: tuple[str, str]) -> None:
    assert schema_and_table(text) == names


@pytest.mark.parametrize("text", ["", "a.b.c", "a.", ".a", '"a', 'a"b'])
def test_what_names_no_table(text: str) -> None:
    with pytest.raises(SettingsError, match="names no table"):
        schema_and_table(text)
