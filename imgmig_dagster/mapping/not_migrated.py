"""Which of the source's columns no item has, and whether each is named as ignored.

`spec` has the declaration, `ignored_columns` the setting that adds to it; `source.catalog` reads the source's columns.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgmig_dagster.mapping.ignored_columns import NO_REASON, SETTING, listed, shown


@dataclass(frozen=True)
class NotMigrated:
    """The columns of the source that no item has.

    `unmapped` are neither mapped nor named as ignored: their content would be lost unnoticed. `ignored` are the others,
    with the reason. `absent` are named as ignored, and the source does not have them.
    """

    unmapped: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    @property
    def fault(self) -> str:
        """What is wrong, as a sentence without its end; empty if every column is declared."""
        if not self.unmapped:
            return ""
        one = len(self.unmapped) == 1
        return (
            f"{len(self.unmapped):,} {'column' if one else 'columns'} of the source {'is' if one else 'are'} neither "
            f"mapped nor ignored: {listed(self.unmapped)}"
        )

    @property
    def remedy(self) -> str:
        """What to do about the fault."""
        entries = json.dumps(dict.fromkeys(self.unmapped, NO_REASON), ensure_ascii=False)
        return f"map them in the table's declaration, or name them there with the reason, as ignored: {entries}"

    @property
    def lines(self) -> list[str]:
        """All of it for a terminal, the fault last."""
        return [*self.ignored_lines, *([f"{self.fault}. To fix that, {self.remedy}"] if self.unmapped else [])]

    @property
    def ignored_lines(self) -> list[str]:
        """The columns that are ignored, with the reasons."""
        lines = [f"ignored column {shown(name)}: {reason}" for name, reason in self.ignored.items()]
        if self.absent:
            lines.append(f"ignored, and not in the source: {listed(self.absent)}; check the spelling in {SETTING}")
        return lines
