"""One rate for several runs: what a run used of its share and would use, and the rule of who gets how much.

Pure. `target.rate_limit` measures, `state.rate_shares` keeps the account that the runs share.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What a run did with its share lately, in capacity units per second.

    `demand` is what it would use if nothing held it back; None for as much as there is. `throttled`: the service
    pushed back.
    """

    used: float = 0.0
    demand: float | None = None
    throttled: bool = False


def fair_shares(demands: Mapping[str, float | None], rate: float) -> dict[str, float]:
    """Max-min fairness: nobody gets more than it demands while another one lacks, and those who lack get equal shares.

    What nobody demands is shared out equally on top: whoever starts to need it has some already. The shares sum up to
    `rate`.
    """
    wanted = {name: math.inf if demand is None else demand for name, demand in demands.items()}
    shares: dict[str, float] = {}
    left = rate
    for name in sorted(wanted, key=wanted.__getitem__):
        shares[name] = min(wanted[name], left / (len(wanted) - len(shares)))
        left -= shares[name]
    return {name: share + left / len(shares) for name, share in shares.items()}


def lower(one: float | None, other: float | None) -> float | None:
    """The lower of two ceilings, of which None is none."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
