"""Draws charts as inline SVG. Only this module imports matplotlib, and only when it draws."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from imgmig_dagster.reporting.partition_summary import PartitionSummary, count
from imgmig_dagster.traffic import Percentiles, TrafficRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib knows no CSS: each of these colours is replaced by a CSS variable afterwards, so that the page's light and
# dark themes apply to the chart too.
_TEXT: Final = "#010101"
_GRID: Final = "#020202"
_ROWS: Final = "#030303"
_RATE: Final = "#040404"
_FAULTS: Final = "#050505"
_THEME: Final = {
    _TEXT: "currentColor",
    _GRID: "var(--line)",
    _ROWS: "var(--rows)",
    _RATE: "var(--rate)",
    _FAULTS: "var(--fail)",
}
_LABELS: Final = 26
_CROWDED: Final = 200
"""More partitions than the page has room for bars: an outline draws them, with a hundredth of the memory."""
_WIDTH: Final = 10.0


@dataclass
class Chart:
    """A chart; `svg` exists once its context has ended."""

    figure: "Figure"
    svg: Markup = field(default_factory=Markup)


def rows_and_rate(partitions: Sequence[PartitionSummary]) -> Markup:
    """Two panels of bars over partitions: the source's rows, and the rate of the last migration pass.

    The same partitions give the same bytes, as in every chart here.
    """
    keys = [each.partition for each in partitions]
    rates = [each.migration.rate if each.migration else 0.0 for each in partitions]
    with _chart(f"Rows and migration rate of {_span(keys)}", 4.6) as chart:
        upper, lower = chart.figure.subplots(2, 1, sharex=True)
        _bars(upper, [each.rows for each in partitions], _ROWS, "Rows in the source")
        _bars(lower, rates, _RATE, "Rows per second, last migration pass")
        _name_partitions(lower, keys)
    return chart.svg


def counts(title: str, numbers: Mapping[str, int], faults: Sequence[str] = ()) -> Markup:
    """One bar for each number, those named in `faults` in the colour of a fault."""
    with _chart(title, 0.7 + 0.32 * len(numbers), width=_WIDTH / 2) as chart:
        axes = chart.figure.subplots()
        colors = [_FAULTS if name in faults else _ROWS for name in numbers]
        bars = axes.barh(range(len(numbers)), list(numbers.values()), color=colors, height=0.72)
        axes.bar_label(bars, [f"{number:,}" for number in numbers.values()], padding=4)
        axes.set_yticks(range(len(numbers)), [name.replace("_", " ") for name in numbers])
        axes.invert_yaxis()
        axes.xaxis.set_visible(False)
        axes.margins(x=0.2)
        _plain(axes, title)
        axes.spines["bottom"].set_visible(False)
    return chart.svg


def latency(partitions: Sequence[PartitionSummary]) -> Markup:
    """Two panels over partitions, reads and writes: three percentiles in milliseconds, on a logarithmic scale."""
    keys = [each.partition for each in partitions]
    found = [each.traffic.latency() for each in partitions]
    with _chart(f"Read and write latency of {_span(keys)}", 4.6) as chart:
        upper, lower = chart.figure.subplots(2, 1, sharex=True)
        for axes, kind, color in ((upper, "read", _ROWS), (lower, "write", _RATE)):
            _percentiles(axes, [each.get(kind) for each in found], color, f"Latency of {kind}s, ms")
        _name_partitions(lower, keys)
    return chart.svg


def throttling(record: TrafficRecord) -> Markup:
    """Throttled requests over time, in slots of the record's width."""
    from matplotlib.ticker import MaxNLocator

    # Any: matplotlib takes times, and its annotations do not say so.
    width: Any = timedelta(seconds=record.slot_s)
    title = f"Throttled requests in {count(record.slot_s // 60, 'minute')} each, UTC"
    slots = sorted((int(second), number) for second, number in record.throttled.items())
    starts: list[Any] = [datetime.fromtimestamp(second, tz=timezone.utc) for second, _number in slots]
    with _chart(title, 2.6) as chart:
        axes = chart.figure.subplots()
        axes.bar(starts, [number for _second, number in slots], width=width, align="edge", color=_FAULTS)
        # At least twenty slots, so that a single one does not fill the whole chart.
        axes.set_xlim(starts[0] - 5 * width, max(starts[-1], starts[0] + 10 * width) + 5 * width)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        _plain(axes, title)
    return chart.svg


@contextmanager
def _chart(label: str, height: float, width: float = _WIDTH) -> Iterator[Chart]:
    """A figure of this height in inches to draw on; `label` names it for screen readers."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Any: the type of the names differs between versions of matplotlib.
    look: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": label,
        "text.parse_math": False,
        "date.converter": "concise",
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
        chart = Chart(Figure(figsize=(width, height), layout="constrained"))
        yield chart
        chart.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        chart.svg = _inline(file.getvalue(), label)


def _bars(axes: "Axes", heights: Sequence[float], color: str, title: str) -> None:
    if len(heights) > _CROWDED:
        axes.stairs(heights, [each - 0.5 for each in range(len(heights) + 1)], color=color, fill=True)
    else:
        axes.bar(range(len(heights)), heights, color=color, width=0.72)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _over_partitions(axes, title)


def _percentiles(axes: "Axes", found: Sequence[Percentiles | None], color: str, title: str) -> None:
    from matplotlib.ticker import LogLocator

    for name, line, marker in (("p50", "-", "o"), ("p95", "--", "s"), ("p99", ":", "^")):
        values = [getattr(each, f"{name}_ms") if each else float("nan") for each in found]
        marker = "" if len(found) > _CROWDED else marker
        axes.plot(range(len(found)), values, line, marker=marker, markersize=4, color=color, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter("")
    axes.margins(y=0.1)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, borderaxespad=0)
    _over_partitions(axes, title)


def _over_partitions(axes: "Axes", title: str) -> None:
    axes.margins(x=0.01)
    _plain(axes, title)


def _plain(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.yaxis.grid(visible=axes.xaxis.get_visible())
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(which="both", length=0)


def _name_partitions(axes: "Axes", keys: Sequence[str]) -> None:
    step = -(-len(keys) // _LABELS)
    axes.set_xticks(range(0, len(keys), step), keys[::step], rotation=90 if len(keys) > 10 else 0)


def _span(keys: Sequence[str]) -> str:
    return f"{count(len(keys), 'partition')}, {keys[0]} to {keys[-1]}"


def _inline(svg: str, label: str) -> Markup:
    """The drawing as an element of a page: themed, named for screen readers, as wide as its container."""
    for color, theme in _THEME.items():
        svg = svg.replace(color, theme)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Of two rules for everything on the page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    # The names of groups are the same in every drawing; those that are referred to are hashes.
    svg = re.sub(r' id="[a-z]+[\d._]*"(?=>)', "", svg)
    opening = Markup('<svg role="img" aria-label="{0}" ').format(label)
    title = Markup("<title>{0}</title>").format(label)
    # Safe: what was drawn are numbers and declared names, and matplotlib escapes text.
    return Markup(re.sub(r"<svg ([^>]*>)", lambda found: f"{opening}{found[1]}{title}", svg, count=1))  # noqa: S704
