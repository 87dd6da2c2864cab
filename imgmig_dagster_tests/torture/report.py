"""The campaign's figures, for the terminal and for the documents."""

from collections.abc import Mapping

from imgmig_dagster_tests.torture.application import Beside
from imgmig_dagster_tests.torture.campaign import Campaign
from imgmig_dagster_tests.torture.passes import MOST_DONE_AGAIN, WAYS
from imgmig_dagster_tests.torture.points import Point


def line(campaign: Campaign) -> str:
    """How far the campaign has come."""
    found = campaign.findings[-1]
    died = ", ".join(f"{point.value} x{count}" for point, count in found.kills.items())
    verdict = "; ".join(found.violations) or "exact"
    return f"{campaign.kills:4} kills | {found.way} | {died or 'none'} | {found.most_done_again} done again | {verdict}"


def markdown(campaign: Campaign, rows: int, seconds: float) -> str:
    """A table of kills by point and way, and what came of them."""
    found = campaign.findings
    exact = sum(not one.violations for one in found)
    return "\n".join(
        [
            f"{campaign.kills} kills in {len(found)} passes over {rows:,} rows each, seed {campaign.seed}, "
            f"{seconds:,.0f} s.",
            "",
            "| killed | " + " | ".join(map(str, WAYS)) + " |",
            "|---|" + "---|" * len(WAYS),
            *(
                f"| {point.value} | " + " | ".join(str(campaign.kills_at(point, way)) for way in WAYS) + " |"
                for point in Point
            ),
            "",
            "| | |",
            "|---|---|",
            f"| resumes from a checkpoint | {sum(one.resumes for one in found)} |",
            f"| passes with an exact result | {exact} of {len(found)} |",
            f"| most rows done again after one death | {max(one.most_done_again for one in found):,}, "
            f"of {MOST_DONE_AGAIN:,} allowed |",
            f"| violations | {len(campaign.violations)} |",
            *(f"\n- {violation}" for violation in campaign.violations),
            "",
        ]
    )


def markdown_of_application(beside: Beside) -> str:
    """What the application wrote in between, and what the passes made of it."""
    writes = sum(beside.written.values())
    return "\n".join(
        [
            "",
            "| beside the application | |",
            "|---|---|",
            f"| its writes | {writes:,} in {beside.seconds:,.0f} s: {_counts(beside.written)} |",
            f"| outcomes of the pass beside it | {_counts(beside.beside)} |",
            f"| of the pass after it | {_counts(beside.after)} |",
            f"| of the retry | {_counts(beside.retried) or 'nothing to retry'} |",
            f"| violations | {len(beside.violations)} |",
            *(f"\n- {violation}" for violation in beside.violations),
            "",
        ]
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
