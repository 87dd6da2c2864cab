"""Holds what was named against what was planted."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.self_test.planting import Name, Plant

UNTOUCHED: Final = "untouched items"


@dataclass
class KindTally:
    """How one kind of plant fared: `named` and `missed` of the `planted`, of which none is to be named if harmless.

    `false` counts what else was named of these keys: fields, or that they are missing or orphans.
    """

    kind: str
    harmful: bool
    planted: int = 0
    named: int = 0
    missed: int = 0
    false: int = 0


@dataclass(frozen=True)
class Judgement:
    """What came of the plants by kind, and key and field of all that was `missed` or named `false`ly."""

    kinds: tuple[KindTally, ...]
    missed: tuple[Name, ...]
    false: tuple[Name, ...]

    @property
    def clean(self) -> bool:
        """Whether every corruption was named in full, and nothing else was."""
        return not (self.missed or self.false)


def judge(plants: Sequence[Plant], untouched: int, named: Set[Name]) -> Judgement:
    """Hold the names that verification gave against those that it had to give.

    A corruption counts as named when each key and field of it was. The `untouched` items are a kind of their own.
    """
    names_of: dict[str, set[Name]] = {}
    for name in named:
        names_of.setdefault(name[0], set()).add(name)
    kinds: dict[str, KindTally] = {}
    missed: list[Name] = []
    false: list[Name] = []
    for plant in plants:
        tally = kinds.setdefault(plant.kind, KindTally(plant.kind, plant.harmful))
        found = {name for row_id in plant.ids for name in names_of.pop(row_id, ())}
        tally.planted += 1
        if plant.harmful:
            tally.named += plant.named <= found
            tally.missed += not plant.named <= found
        missed += plant.named - found
        tally.false += len(found - plant.named)
        false += found - plant.named
    rest = [name for found in names_of.values() for name in found]
    kinds[UNTOUCHED] = KindTally(UNTOUCHED, harmful=False, planted=untouched, false=len(rest))
    order = sorted(kinds.values(), key=lambda tally: not tally.harmful)
    return Judgement(tuple(order), tuple(sorted(missed)), tuple(sorted([*false, *rest])))
