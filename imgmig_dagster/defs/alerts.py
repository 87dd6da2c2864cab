"""Sends alerts to one webhook, in Slack's JSON. `defs/` decides what to alert; what to do is in `remedies`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from urllib3.util import Retry

from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.remedies import Remedy
from imgmig_dagster.transport import is_loopback

# To connect, and between two bytes of the answer: a webhook must not use up a tick's time.
_TIMEOUT_S: Final = (5.0, 10.0)
_LONGEST_WAIT_S: Final = 3_600.0
_NAMED: Final = 3


class AlertNotSent(ImgmigError):
    """The webhook did not take a message. The text does not hold its URL, which is a secret.

    `retryable`: it may accept the message later, after `wait_s` seconds. Otherwise it refuses this message, but may
    accept others.
    """

    exit_code = 3
    retryable = True

    def __init__(self, message: str, retryable: bool = True, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.wait_s = wait_s


@dataclass(frozen=True)
class AlertFault:
    """One thing that is wrong, with one partition or with the table. Holds no row's values: keys, names, counts.

    One message tells of all faults with the same `title`, `verdict` and `remedy`. `page` is a page of the UI; `pages`
    shows all faults of the kind. `keys` are the first of those at fault, with the field; `unlisted` counts the others.
    """

    title: str
    verdict: str
    remedy: Remedy
    page: str
    pages: str
    partition: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    unlisted: int = 0

    @property
    def kind(self) -> tuple[str, str, Remedy]:
        """What the faults of one message have in common."""
        return self.title, self.verdict, self.remedy


@dataclass(frozen=True)
class Alert:
    """A message about faults of one kind, of a `table` where there are several; `ui` is the address of the UI."""

    stage: str
    ui: str
    faults: Sequence[AlertFault]
    table: str | None = None

    def payload(self) -> dict[str, Any]:
        """The message: `text` for notifications, the same as a section for people."""
        first = self.faults[0]
        partitions = sorted({fault.partition for fault in self.faults if fault.partition})
        counts: Counter[str] = Counter()
        for fault in self.faults:
            counts.update(fault.counts)
        if len(partitions) > 1:
            counts["partitions"] = len(partitions)
        counted = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())
        place = [self.stage, *([self.table] if self.table else []), *_span(partitions)]
        text = f"[{', '.join(place)}] {first.title}: {first.verdict}"
        text += f" ({counted})" if counted else ""
        text += f": {keys}" if (keys := self._keys()) else ""
        text += f". Next: {first.remedy.text(self.stage, partitions, self.table)}"
        link = f"{self.ui.rstrip('/')}/{first.page if len(self.faults) == 1 else first.pages}"
        section = {"type": "section", "text": {"type": "mrkdwn", "text": f"{_escaped(text)}\n<{link}|Open>"}}
        return {"text": _escaped(text), "blocks": [section]}

    def _keys(self) -> str:
        # One key of each partition before a second of any.
        ranked = sorted((rank, key) for fault in self.faults for rank, key in enumerate(fault.keys))
        named = [key for _rank, key in ranked[:_NAMED]]
        more = len(ranked) - len(named) + sum(fault.unlisted for fault in self.faults)
        return "; ".join(named) + (f" and {more:,} more" if named and more else "")


class Webhook:
    """Posts each alert once: later ticks wait and try again, up to their own limit."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        host = urlsplit(url).hostname or ""
        # An unencrypted webhook is on this machine: a proxy must not see the message.
        self._proxies = {"no_proxy": host} if is_loopback(host) else {}

    def send(self, alert: Alert) -> None:
        """Send it.

        Raises:
            AlertNotSent: the webhook refused it, is busy, or cannot be reached.
        """
        wait_s, retryable = 0.0, True
        try:
            # Do not wait for the answer's body.
            with self._session.post(
                self._url,
                json=alert.payload(),
                timeout=_TIMEOUT_S,
                allow_redirects=False,
                stream=True,
                proxies=self._proxies,
            ) as reply:
                status, wait_s = reply.status_code, _wait_s(reply.headers.get("Retry-After"))
        except requests.RequestException as error:
            cause = type(error).__name__
        else:
            if status < 300:
                return
            cause, retryable = f"HTTP {status}", status == 429 or status >= 500
        message = f"the webhook of IMGMIG_ALERT_WEBHOOK did not take a message: {cause}"
        raise AlertNotSent(message, retryable, wait_s) from None


def _wait_s(retry_after: str | None) -> float:
    if retry_after is None:
        return 0.0
    try:
        return min(Retry().parse_retry_after(retry_after), _LONGEST_WAIT_S)
    except Exception:
        return 0.0


def _span(partitions: Sequence[str]) -> Sequence[str]:
    if len(partitions) <= _NAMED:
        return partitions
    return [f"{len(partitions):,} partitions from {partitions[0]} to {partitions[-1]}"]


def _escaped(text: str) -> str:
    """The text as Slack needs it: nothing from outside becomes a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
