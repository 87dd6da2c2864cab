"""What a spot check found: each row of the sample, and what that says about all rows.

`steps.spot_check` draws it, `review` holds a person's review.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from imgmig_dagster.figures import SHARE, Figure
from imgmig_dagster.source.sampling import Shape
from imgmig_dagster.verification.verification_result import Identity


class ObjectFault(str, Enum):
    """What is wrong with an object in S3."""

    MISSING = "missing"
    SIZE = "another size"
    TYPE = "another type"
    UNREAD = "S3 could not be asked"
    """It could not be reached, or refused: nothing is known, and that is no pass."""


@dataclass(frozen=True)
class StoredObject:
    """Where a picture or a thumbnail is according to its row, and what S3 says about it.

    `size` (bytes) and `type` are S3's, None if it did not answer. `faults` compare them with what the row declares.
    """

    bucket: str | None
    key: str | None
    size: int | None
    type: str | None
    faults: Sequence[ObjectFault]


@dataclass(frozen=True)
class SpotCheckPair:
    """One row, both records side by side: per attribute what the row says, what the item says, and if they agree.

    `picture` is None if the mapping declares no pictures, `thumbnail` if the row declares none.
    """

    row_id: str
    shape: Shape
    fields: Sequence[tuple[str, str, str, bool]]
    has_item: bool
    picture: StoredObject | None
    thumbnail: StoredObject | None

    @property
    def agrees(self) -> bool:
        """Whether the item exists and every field agrees."""
        return self.has_item and all(agrees for _attribute, _expected, _found, agrees in self.fields)

    @property
    def object_faults(self) -> Sequence[str]:
        """What is wrong with the picture and the thumbnail in S3, without values."""
        objects = {"picture": self.picture, "thumbnail": self.thumbnail}
        return [f"{name}: {fault.value}" for name, found in objects.items() if found for fault in found.faults]


@dataclass(frozen=True)
class SpotCheckResult:
    """A random sample; drawn again with the same seed it holds the same images."""

    run_id: str
    seed: Annotated[int, Figure("draws the same images again", "")]
    requested: int
    pairs: Sequence[SpotCheckPair]
    source_rows: int
    identity: Identity
    checked_at: str

    @property
    def images(self) -> Annotated[int, Figure(unit="images")]:
        """How many images were drawn."""
        return len(self.pairs)

    @property
    def differing(self) -> Sequence[str]:
        """The ids of the images that do not agree."""
        return [pair.row_id for pair in self.pairs if not pair.agrees]

    @property
    def is_clean(self) -> bool:
        """Whether every image of the sample agrees, and there is one."""
        return bool(self.pairs) and not self.differing

    @property
    def has_pictures(self) -> bool:
        """Whether the mapping declares pictures, so that S3 was asked."""
        return any(pair.picture is not None for pair in self.pairs)

    @property
    def noun(self) -> str:
        """What one row is called on the page: an image, or a row."""
        return "image" if self.has_pictures else "row"

    @property
    def object_faults(self) -> Mapping[str, Sequence[str]]:
        """What is wrong in S3, by the ids of the images concerned."""
        return {pair.row_id: pair.object_faults for pair in self.pairs if pair.object_faults}

    @property
    def random(self) -> Annotated[int, Figure(unit="images", name="drawn_at_random")]:
        """How many images were drawn regardless of their shape."""
        return sum(pair.shape is Shape.RANDOM for pair in self.pairs)

    @property
    def bound(
        self,
    ) -> Annotated[
        float | None,
        Figure(unit=SHARE, name="wrong_at_most_percent", digits=2),
    ]:
        """At 95 % confidence no more than this share of all rows is wrong; None for a sample that shows nothing.

        The rule of three: if more than 3/n of the rows were wrong, n random rows would miss them all less than 5 times
        in 100. The rows of rare shapes are not drawn at random, and do not count into n.
        """
        if not self.random or self.differing:
            return None
        return 0.0 if len(self.pairs) >= self.source_rows else min(1.0, 3 / self.random)
