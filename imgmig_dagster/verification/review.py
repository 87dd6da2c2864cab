"""A person's review of a spot check: the file that its page saves, checked against the sample."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.remedies import options
from imgmig_dagster.verification.spot_check_results import SpotCheckResult


class ReviewRefused(ImgmigError):
    """A review that does not fit the last sample: of another one, incomplete, or no review at all."""


@dataclass(frozen=True)
class ReviewedImage:
    """One image: fine or not, and why."""

    row_id: str
    fine: bool
    remark: str


@dataclass(frozen=True)
class SpotCheckReview:
    """A review of every image of one sample, which `stage`, `run_id` and `seed` name.

    `reviewer` may be empty. `reviewed_at` is by the clock of the reviewer's browser.
    """

    stage: str
    run_id: str
    seed: int
    reviewer: str
    reviewed_at: str
    images: Sequence[ReviewedImage]

    @property
    def issues(self) -> Sequence[str]:
        """The ids of the images that are not fine."""
        return [image.row_id for image in self.images if not image.fine]

    def is_of(self, sample: SpotCheckResult) -> bool:
        """Whether it is of this sample, and not of an earlier one."""
        return (self.run_id, self.seed) == (sample.run_id, sample.seed)


def read_review(
    content: bytes, sample: SpotCheckResult | None, stage: str, table: str | None = None
) -> SpotCheckReview:
    """The review in a file, if it is of this sample and marks each of its images once.

    `table` is the `--table` of commands; None if the stage has only one table.

    Raises:
        ReviewRefused: it is not, or there is no sample.
    """
    if sample is None:
        raise ReviewRefused(f"stage {stage} has no spot check to review: imgmig spot-check {options(stage, table)}")
    try:
        review = TypeAdapter(SpotCheckReview).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ReviewRefused(
            f"the file is no review that the spot check's page has saved ({place or 'JSON'}: {first['msg']}). Save it "
            "again from the page"
        ) from None
    if review.stage != stage:
        raise ReviewRefused(f"the review is of stage {review.stage!r}, not of {stage}")
    if not review.is_of(sample):
        raise ReviewRefused(
            f"the review is of another sample (run {review.run_id}, seed {review.seed}); the last one is of run "
            f"{sample.run_id}, seed {sample.seed}. Review its page"
        )
    marked = Counter(image.row_id for image in review.images)
    drawn = {pair.row_id for pair in sample.pairs}
    faults = {
        "not marked": drawn - marked.keys(),
        "not in the sample": marked.keys() - drawn,
        "marked twice": {row_id for row_id, times in marked.items() if times > 1},
    }
    found = [f"{len(ids):,} {fault} ({min(ids)})" for fault, ids in faults.items() if ids]
    if found:
        raise ReviewRefused(f"the review does not fit its sample: {', '.join(found)}. Finish it on the page")
    return review
