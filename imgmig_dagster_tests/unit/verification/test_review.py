"""A review counts only if it is of the last sample, and marks each of its images."""

import json
from typing import Any

import pytest

from imgmig_dagster.verification.review import ReviewRefused, read_review
from imgmig_dagster_tests.unit.reporting.stage_state import pair, spot_check

SAMPLE = spot_check(pair("a"), pair("b"))
MARKS = [
    {"row_id": "a", "fine": True, "remark": ""},
    {"row_id": "b", "fine": False, "remark": "blurred"},
]


def saved(**changes: Any) -> bytes:
    """What the page saves: the seed as text, since JavaScript's numbers are exact to 2^53 only."""
    document = {
        "stage": "staging",
        "run_id": "spot",
        "seed": "7",
        "reviewer": "",
        "reviewed_at": "2025-01-02T10:50:00.000Z",
        "images": MARKS,
    }
    return json.dumps({**document, **changes}).encode()


def test_a_review_of_every_image_is_taken() -> None:
    review = read_review(saved(), SAMPLE, "staging")
    assert (review.seed, review.issues) == (7, ["b"])
    assert [image.remark for image in review.images] == ["", "blurred"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(run_id="another"), "of another sample .run another, seed 7.; the last one is of run spot"),
        (saved(seed="8"), "of another sample"),
        (saved(stage="prod"), "of stage 'prod', not of staging"),
        (saved(images=MARKS[:1]), r"1 not marked \(b\)"),
        (saved(images=[*MARKS, {**MARKS[0], "row_id": "c"}]), r"1 not in the sample \(c\)"),
        (saved(images=[*MARKS, MARKS[0]]), r"1 marked twice \(a\)"),
        (saved(images=[{"row_id": "a", "remark": ""}]), r"no review that .*images\.0\.fine: Field required"),
        (b"{", r"no review that .*\(JSON: Invalid JSON"),
    ],
)
def test_any_other_file_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ReviewRefused, match=reason):
        read_review(content, SAMPLE, "staging")


def test_without_a_sample_there_is_nothing_to_review() -> None:
    with pytest.raises(ReviewRefused, match="stage staging has no spot check to review: imgmig spot-check --stage"):
        read_review(saved(), None, "staging")
    with pytest.raises(ReviewRefused, match="imgmig spot-check --stage staging --table orders"):
        read_review(saved(), None, "staging", "orders")
