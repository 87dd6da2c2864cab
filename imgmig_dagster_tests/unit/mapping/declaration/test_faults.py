"""A declaration's faults are named by file and line, all at once, with what to write instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.declaration import DeclarationRefused, declare, load

SOUND: Mapping[str, str] = {
    "table": "shop.files",
    "identity": "[id]",
    "order": "created_at",
    "modified": "updated_at",
    "key": '{PK: "FILE#{id}"}',
    "attributes": "{title: title}",
}


def refused(tmp_path: Path, text: str | bytes) -> list[str]:
    """Each fault of a text, without the path."""
    path = tmp_path / "files.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DeclarationRefused) as caught:
        load(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def written(changes: Mapping[str, str | None]) -> str:
    """A sound declaration with changes, each key on a line of its own; None leaves a key out."""
    return "".join(f"{key}: {value}\n" for key, value in {**SOUND, **changes}.items() if value is not None)


FAULTS: list[tuple[dict[str, str | None], str]] = [
    # the form
    ({"bogus": "1"}, "7: unknown key `bogus`; there are table, name, entity, identity, order, undated, partitions,"),
    ({"atributes": "{}"}, "7: unknown key `atributes`; write `attributes`"),
    ({"table": None}, "1: `table` is missing; write for example `table: public.images`"),
    ({"key": None}, '1: `key` is missing; write for example `key: {PK: "IMAGE#{id}", SK: METADATA}`'),
    ({"modified": None}, "1: `modified` is missing; write for example `modified: updated_at`"),
    ({"modified": "{newer: me}"}, "4: `newer` cannot be me; write source or target"),
    ({"modified": "[a]"}, "4: `modified` cannot be here; write for example `modified: updated_at`"),
    ({"identity": "[]"}, "2: `identity` names nothing; name at least one"),
    ({"identity": "[id, 1]"}, "2: `1` is a name that YAML reads as a number or a truth value; put it in quotes"),
    ({"order": "{column: at}"}, "3: `unit` is missing; write for example `unit: ms`"),
    ({"order": "{column: at, unit: minutes}"}, "3: `unit` cannot be minutes; write s, ms or us"),
    ({"undated": '"yes"'}, "7: `undated` has to be true or false; write it so"),
    ({"undated": "yes"}, "7: `undated` has to be true or false; write it so"),
    ({"where": ""}, "7: `where` is empty; write a value, or leave the key out"),
    ({"where": '" "'}, "7: `where` is empty; leave the key out, or say it"),
    ({"key": "PK"}, "5: `key` has to be a mapping of names and values; write it so"),
    ({"key": "{}"}, "5: `key` names nothing; name at least one"),
    ({"key": "{a: x, b: y, c: z}"}, "5: `key` names 3; name at most 2"),
    ({"key": '{PK: {template: "{id}", type: B}}'}, "5: `type` cannot be B; write S or N"),
    ({"key": "{PK: [id]}"}, "5: `PK` cannot be here; write a text with columns in braces, such as"),
    ({"version": "{attribute: version}"}, "7: `initial` is missing; write for example `initial: 1`"),
    ({"version": '{attribute: version, initial: "1"}'}, "7: `initial` has to be a whole number; write it so"),
    ({"nulls": "leftout"}, "7: `nulls` cannot be leftout; write left_out"),
    ({"partitions": "hourly"}, "7: `partitions` cannot be hourly; write daily, weekly or monthly"),
    ({"partitions": "{every: daily, start: soon}"}, "7: `start` is not a day; write it as 2020-01-31"),
    ({"order": None, "partitions": "{buckets: 0}"}, "6: `buckets` is too small; write at least 1"),
    ({"order": None, "partitions": "{buckets: 99999}"}, "6: `buckets` is too large; write at most 10000"),
    ({"attributes": "{a: 7}"}, "6: `a` is a name that YAML reads as a number or a truth value; put it in quotes"),
    (
        {"attributes": "{a: [x]}"},
        "6: `a` cannot be here; write a column, a text with columns in braces",
    ),
    ({"attributes": '{"": x}'}, "6: `` is empty; write a name"),
    ({"attributes": "{a: {as: text}}"}, "6: `column` is missing; write for example `column: size_bytes`"),
    ({"attributes": "{a: {column: x, as: no}}"}, "6: `as` cannot be no; write text, iso, epoch_seconds, epoch_ms,"),
    ({"attributes": "{a: {column: x, nul: written}}"}, "6: unknown key `nul`; write `null`"),
    ({"attributes": "{a: {map: {}}}"}, "6: `map` names nothing; name at least one"),
    ({"attributes": "{a: {map: {x: {map: {y: z}}}}}"}, "6: `x` cannot be here; write a column, a text"),
    ({"attributes": "{a: {map: {x: {constant: 1}}}}"}, "6: `x` cannot be here; write a column, a text"),
    ({"attributes": "{a: {constant: [1]}}"}, "6: `constant` is not a constant; write a text, a number, true or false"),
    ({"attributes": f"{{a: {{constant: {'1' * 39}}}}}"}, "6: `constant` is beyond the 38 digits or the range of"),
    ({"attributes": "{a: {constant: 1e126}}"}, "6: `constant` is beyond the 38 digits or the range of"),
    ({"ignored": "[caption]"}, "7: `ignored` has to be a mapping of names and values; write it so"),
    ({"ignored": "{caption: }"}, "7: `caption` is empty; write a value, or leave the key out"),
    ({"pictures": "{bucket: b, type: t, size: s, name: n}"}, "7: `key` is missing; write for example `key: s3_key`"),
    # what contradicts itself
    ({"table": "a.b.c"}, "1: `table` has more than one point: a.b.c; write `table: {schema: public, name: images}`"),
    ({"table": "a."}, "1: `table` names no table: a.; write `table: public.images`"),
    ({"table": "public.my files"}, '1: "my files" cannot name folders and assets; write `name:` with letters, digits'),
    ({"name": "a/b"}, '7: "a/b" cannot name folders and assets; write `name:` with letters, digits and _ alone'),
    ({"identity": "[id, id]"}, "2: `identity` names id twice; leave one of them out"),
    (
        {"identity": "[id, tenant]"},
        "5: the key does not have tenant of the identity, so rows would share an item; write",
    ),
    ({"key": '{PK: "{id}{id}"}'}, "5: {id}{id} names a column twice"),
    ({"key": '{PK: "{id}{x}"}'}, "5: {id}{x} has nothing between two columns: put a separator such as # there"),
    ({"key": '{PK: "{id}}"}'}, "5: {id}} has a brace that names no column: write {column}, and no other braces"),
    (
        {"key": '{PK: {template: "A{id}", type: N}}'},
        "5: a key of type N is a number, and A{id} is none; write a",
    ),
    ({"key": f'{{{"P" * 256}: "{{id}}"}}'}, "5: DynamoDB takes names of keys up to 255 bytes; write a shorter one"),
    ({"order": None}, "1: nothing cuts the rows into partitions; name a column of times as `order`, or write"),
    ({"partitions": "{buckets: 8}"}, "7: buckets are for a table without an order; leave out `order`, or the buckets"),
    (
        {"order": None, "partitions": "{buckets: 8}", "undated": "true"},
        "7: `undated` is of rows whose order is NULL, and there is no order; leave it out",
    ),
    ({"partitions": "{every: daily, start: 0999-12-31}"}, "7: `start` is too early; the earliest day is 1000-01-01"),
    ({"partitions": "{every: weekly, start: 1000-01-04}"}, "7: `start` is too early; the earliest day is 1000-01-05"),
    (
        {"order": "{column: at, unit: ms}", "modified": "at"},
        "4: `order` and `modified` read at in two units; write `modified: {column: at, unit: ms}`",
    ),
    (
        {"order": "at", "modified": "{column: at, unit: ms}"},
        "4: `order` and `modified` read at in two units; write `modified: at`",
    ),
    ({"version": "{attribute: PK, initial: 1}"}, "7: PK is an attribute of the key; name another one"),
    (
        {"attributes": "{v: v}", "version": "{attribute: v, initial: 1}"},
        "6: v is the version already; give this attribute another name",
    ),
    ({"attributes": "{PK: id}"}, "6: PK is the key already; give this attribute another name"),
    ({"attributes": "{PK: {constant: 1}}"}, "6: PK is the key already; give this attribute another name"),
    ({"attributes": "{a.b: x, a: {map: {b: y}}}"}, "6: a.b is an attribute, and a member of another one in reports;"),
    ({"attributes": '{a: "x}"}'}, '6: x} has a brace that names no column; write {column: "..."} for a column'),
    ({"attributes": "{a: {template: x}}"}, "6: x names no column; write {constant: ...} for what is always the same"),
    ({"attributes": "{a: {column: x, values: {}}}"}, "6: `values` names nothing; write each value of the column and"),
    (
        {"attributes": "{a: {column: x, values: {1: b, 2: b}}}"},
        "6: `values` has b for several values; write different texts, so that no two are the same",
    ),
    (
        {"attributes": "{a: {column: x, values: {1: b}, as: integer}}"},
        "6: `values` makes texts, and `as` is integer; leave one of them out",
    ),
    (
        {"attributes": "{a: {column: x, unit: ms, as: integer}}"},
        "6: `unit` is of a time, and this is integer; leave `unit` out, or write `as: iso` or `as: epoch_seconds`",
    ),
    (
        {"attributes": "{a: {column: created_at, unit: ms}}"},
        "6: created_at counts nothing in `order` or `modified`, and ms here; write the same unit",
    ),
    (
        {"order": "{column: at, unit: s}", "attributes": "{a: {column: at, unit: ms}}"},
        "6: at counts s in `order` or `modified`, and ms here; write the same unit",
    ),
    ({"attributes": "{a: {column: x, tolerance: exact}}"}, "6: only times as text have a tolerance; leave it out"),
    (
        {"attributes": "{a: {column: x, as: iso, plus: 1 day}}"},
        "6: `plus` is added to a time that is a number; write `as: epoch_seconds` too, or leave `plus` out",
    ),
    (
        {"attributes": "{a: {column: x, as: epoch_ms, plus: 1 month}}"},
        "6: `plus` is not a span of time: 1 month; write a whole number of seconds, minutes, hours, days or weeks",
    ),
    ({"ignored": "{title: why not}"}, "7: title is mapped and ignored; take it out of one of the two"),
    ({"ignored": "{id: why not}"}, "7: id is mapped and ignored; take it out of one of the two"),
    ({"ignored": "{caption: <why>}"}, "7: caption is ignored without a reason; write why it is not needed"),
    ({"sensitive": "[id]"}, "7: id is in the key, which reports have to name; leave it out here, or take another"),
    ({"sensitive": "mail"}, "7: mail is in no attribute, so nothing shows it; leave it out here"),
]


def test_what_the_faults_are_made_of_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "files.yaml"
    path.write_text(written({}))
    load(path)


@pytest.mark.parametrize(("changes", "fault"), FAULTS, ids=[fault for _changes, fault in FAULTS])
def test_a_fault(tmp_path: Path, changes: dict[str, str | None], fault: str) -> None:
    (found,) = refused(tmp_path, written(changes))

    assert found.startswith(fault)
    assert ";" in found or ": " in found[len("6: ") :], "it says what to write instead"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1: there is no declaration here; write at least table, identity, modified, key"),
        ("- a\n", "1: there is no declaration here; write at least table, identity, modified, key"),
        ("table: a\n  b: c\n", "2: this is not YAML: mapping values are not allowed here; put texts with : # or { in"),
        ("table: [a\n", "2: this is not YAML: while parsing a flow sequence, expected ',' or ']', but got"),
        ("a: b\n---\nc: d\n", "3: a second document (---) begins before here; write one table to a file"),
        (b"table: a\x00\n", "1: this is not YAML: a character is not allowed there; save the file as UTF-8 text"),
        (b"table: a\nname: \xff\n", "2: this is not text in UTF-8; save the file as UTF-8"),
        ("key: !!python/none x\n", "1: `key` has to be a mapping"),
    ],
)
def test_what_is_no_declaration(tmp_path: Path, text: str | bytes, fault: str) -> None:
    assert refused(tmp_path, text)[0].startswith(fault) or any(
        each.startswith(fault) for each in refused(tmp_path, text)
    )


def test_a_key_that_is_there_twice_an_alias_and_a_key_that_is_none(tmp_path: Path) -> None:
    text = written({"attributes": "{a: &x {column: b},\n b: *x,\n a: c,\n ? [d] : e}"})

    assert refused(tmp_path, text) == [
        "7: an alias (*) is not allowed here; write out its value",
        "8: `a` is there twice; leave one of them out",
        "9: a key has to be a text; put it in quotes",
    ]


def test_every_fault_is_told_at_once_by_its_line(tmp_path: Path) -> None:
    text = """table: shop.files
identity: [id, tenant]
order: created_at
modified: updated_at
key:
  PK: "FILE#{id}"
attributes:
  a:
    column: x
    as: int
  b:
    map:
      c: {column: y, unit: ms, as: integer}
  PK: z
ignored:
  z:
  y: dropped
bogus: 1
"""
    assert [each.split(" ", 1)[0] + each.split(" ", 2)[1] for each in refused(tmp_path, text)] == [
        "5:the",
        "10:`as`",
        "13:`unit`",
        "14:PK",
        "16:`z`",
        "17:y",
        "18:unknown",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.yaml cannot be read: No such file") as caught:
        load(tmp_path / "nothing.yaml")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (
            {"attributes": {False: "x"}},
            "attributes.false: a key here is the truth value false; put yes, no, on or off in quotes",
        ),
        ({"attributes": {"a": {"constant": float("nan")}}}, "attributes.a.constant: `constant` is beyond the 38"),
        ({"where": None}, "where: `where` is empty; write a value, or leave the key out"),
        ({"bogus": 1}, "bogus: unknown key `bogus`; there are table,"),
    ],
)
def test_faults_of_data_are_told_by_path(data: dict[str, Any], fault: str) -> None:
    sound = {
        "table": "files",
        "identity": ["id"],
        "order": "at",
        "modified": "at",
        "key": {"PK": "{id}"},
        "attributes": {},
    }
    with pytest.raises(DeclarationRefused) as caught:
        declare({**sound, **data}, "defs/files/defs.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"defs/files/defs.yaml: {fault}")
