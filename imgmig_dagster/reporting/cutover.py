"""What a cutover needs in addition to the verdict: a spot check that a person has reviewed."""

from dataclasses import dataclass
from enum import Enum

from imgmig_dagster.reporting.partition_summary import Blocker, command, count
from imgmig_dagster.verification.evidence import changed_identity
from imgmig_dagster.verification.review import SpotCheckReview
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import Identity


class Cutover(str, Enum):
    """Whether production may cut over: READY needs the verdict PASS and a review without an issue."""

    READY = "READY"
    NOT_READY = "NOT READY"


@dataclass(frozen=True)
class SpotCheckSummary:
    """A spot check and its review, without their records, names and remarks.

    `bound` follows from the `drawn_at_random` among the `drawn` images: at 95 % confidence at most this share of all
    rows is wrong; None where the sample shows nothing. `object_faults` counts images whose objects in S3 are not as
    declared. `reviewed_at` is None until this sample is reviewed; `issues` are the ids that the reviewer marked.
    """

    seed: int
    drawn: int
    drawn_at_random: int
    bound: float | None
    differing: tuple[str, ...]
    object_faults: int
    checked_at: str
    reviewed_at: str | None
    issues: tuple[str, ...]


def summarize_spot_check(sample: SpotCheckResult, review: SpotCheckReview | None) -> SpotCheckSummary:
    """Counts and ids only."""
    counts = review is not None and review.is_of(sample)
    return SpotCheckSummary(
        seed=sample.seed,
        drawn=len(sample.pairs),
        drawn_at_random=sample.random,
        bound=sample.bound,
        differing=tuple(sample.differing),
        object_faults=len(sample.object_faults),
        checked_at=sample.checked_at,
        reviewed_at=review.reviewed_at if review and counts else None,
        issues=tuple(review.issues) if review and counts else (),
    )


def judge_review(
    sample: SpotCheckResult | None, review: SpotCheckReview | None, identity: Identity | None, options: str
) -> list[Blocker]:
    """What blocks the cutover until a person has reviewed all images of a current sample and found no issue."""
    draw, record = command("spot-check", options), f"{command('spot-check', options)} --review FILE"
    draw_and_review = (draw, record)
    if sample is None:
        return [Blocker("There is no spot check", draw_and_review)]
    if invalidation := changed_identity(sample.identity, identity):
        return [Blocker(f"The spot check no longer counts: {invalidation}", draw_and_review)]
    if not sample.pairs:
        return [Blocker("The spot check drew no row", draw_and_review)]
    if sample.differing:
        return [
            Blocker(
                f"{count(len(sample.differing), sample.noun)} of the spot check differed. Once fixed", draw_and_review
            )
        ]
    if review is None:
        return [
            Blocker(
                f"The spot check was not reviewed. Mark every {sample.noun} on its page, and save the file", (record,)
            )
        ]
    if not review.is_of(sample):
        return [Blocker(f"The review is of an older sample. Mark every {sample.noun} of the last one", (record,))]
    if review.issues:
        return [
            Blocker(
                f"The review found {count(len(review.issues), sample.noun)} with issues. Once fixed", draw_and_review
            )
        ]
    return []
