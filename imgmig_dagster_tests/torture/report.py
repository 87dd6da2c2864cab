"""The campaign's figures, for the terminal and for the documents."""

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
