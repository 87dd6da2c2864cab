"""Shares one rate among several runs: what each run used and needs, and the rule for how much each gets.

Pure. `target.rate_limit` measures; `state.rate_shares` keeps the record that the runs share.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """A run's recent use of its share, in capacity units per second.

    `demand` is what it would use without a limit; None for everything available. `throttled`: the service throttled it.
    """

    used: float = 0.0
    demand: float | None = None
    throttled: bool = False


def fair_shares(demands: Mapping[str, float | None], rate: float) -> dict[str, float]:
    """Max-min fairness: no run gets more than it demands while another needs more, and those that do get equal shares.

    What no run demands is divided equally on top, so that a run whose demand rises has some already. The shares sum up
    to `rate`.
    """
    wanted = {name: math.inf if demand is None else demand for name, demand in demands.items()}
    shares: dict[str, float] = {}
    left = rate
    for name in sorted(wanted, key=wanted.__getitem__):
        shares[name] = min(wanted[name], left / (len(wanted) - len(shares)))
        left -= shares[name]
    return {name: share + left / len(shares) for name, share in shares.items()}


def lower(one: float | None, other: float | None) -> float | None:
    """The lower of two ceilings; None means no ceiling."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
