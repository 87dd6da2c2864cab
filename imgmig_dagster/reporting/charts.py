"""Charts as inline SVG. The only module that imports matplotlib, and only when a chart is drawn."""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from imgmig_dagster.reporting.partitions import PartitionSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib knows no CSS: each of these colours stands for one, which is put in afterwards, so that the page's light
# and dark themes hold for the chart as well.
_TEXT: Final = "#010101"
_GRID: Final = "#020202"
_ROWS: Final = "#030303"
_RATE: Final = "#040404"
_THEME: Final = {_TEXT: "currentColor", _GRID: "var(--line)", _ROWS: "var(--rows)", _RATE: "var(--rate)"}
_LABELS: Final = 26


def rows_and_rate(partitions: Sequence[PartitionSummary]) -> Markup:
    """Two panels of bars over partitions: the source's rows, and the rate of the last migration pass.

    The same partitions give the same bytes.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    keys = [each.partition for each in partitions]
    rates = [each.migration.rate if each.migration else 0.0 for each in partitions]
    # Any: the type of the names differs between versions of matplotlib.
    look: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "imgmig",
        "font.size": 10,
        "axes.edgecolor": _GRID,
        "grid.color": _GRID,
        "text.color": _TEXT,
        "axes.labelcolor": _TEXT,
        "axes.titlecolor": _TEXT,
        "xtick.color": _TEXT,
        "ytick.color": _TEXT,
    }
    with rc_context(look), io.StringIO() as file:
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        _bars(upper, [each.rows for each in partitions], _ROWS, "Rows in the source")
        _bars(lower, rates, _RATE, "Rows per second, last migration pass")
        step = -(-len(keys) // _LABELS)
        lower.set_xticks(range(0, len(keys), step), keys[::step], rotation=90 if len(keys) > 10 else 0)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        svg = file.getvalue()
    label = f"Rows and migration rate of {len(keys)} partitions, {keys[0]} to {keys[-1]}"
    return _inline(svg, label)


def _bars(axes: "Axes", heights: Sequence[float], color: str, title: str) -> None:
    axes.bar(range(len(heights)), heights, color=color, width=0.72)
    axes.set_title(title, loc="left", fontsize=10)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.grid(visible=True)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.margins(x=0.01)


def _inline(svg: str, label: str) -> Markup:
    """The drawing as an element of a page: themed, named for screen readers, as wide as its container."""
    for color, theme in _THEME.items():
        svg = svg.replace(color, theme)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    opening = Markup('<svg role="img" aria-label="{0}" ').format(label)
    title = Markup("<title>{0}</title>").format(label)
    # Safe: what was drawn are numbers and partition keys, and matplotlib escapes text.
    return Markup(re.sub(r"<svg ([^>]*>)", lambda found: f"{opening}{found[1]}{title}", svg, count=1))  # noqa: S704
