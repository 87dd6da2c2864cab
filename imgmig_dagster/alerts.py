"""Messages to people: one webhook, in the JSON that Slack and its likes take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from imgmig_dagster.errors import ImgmigError

_TIMEOUT_S: Final = 10.0
_RETRIED_STATUSES: Final = (429, 500, 502, 503, 504)


class AlertNotSent(ImgmigError):
    """The webhook did not take a message. The text does not hold its URL, which is a secret."""

    exit_code = 3
    retryable = True


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at. Holds no row's values: keys, names, counts."""

    stage: str
    title: str
    verdict: str
    link: str
    partition: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """The message: `text` for notifications, the same as fields for whoever reads it by machine."""
        place = f"{self.stage}, {self.partition}" if self.partition else self.stage
        counted = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        text = f"[{place}] {self.title}: {self.verdict}" + (f" ({counted})" if counted else "")
        section = {"type": "section", "text": {"type": "mrkdwn", "text": f"{_escaped(text)}\n<{self.link}|Open>"}}
        return {"text": _escaped(text), "blocks": [section]}


class Webhook:
    """Posts alerts; a server that is busy or away is tried again three times."""

    def __init__(self, url: str, backoff: float = 0.5) -> None:
        self._url = url
        self._session = requests.Session()
        # A message that arrives twice is better than one that is lost: POST is sent again too.
        retry = Retry(
            total=3,
            backoff_factor=backoff,
            status_forcelist=_RETRIED_STATUSES,
            allowed_methods=None,
            respect_retry_after_header=True,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def send(self, alert: Alert) -> None:
        """Send it.

        Raises:
            AlertNotSent: the webhook refused it, or stayed away.
        """
        try:
            with self._session.post(
                self._url, json=alert.payload(), timeout=_TIMEOUT_S, allow_redirects=False
            ) as reply:
                status = reply.status_code
        except requests.RequestException as error:
            cause = type(error).__name__
        else:
            if status < 300:
                return
            cause = f"HTTP {status}"
        raise AlertNotSent(f"the webhook of IMGMIG_ALERT_WEBHOOK did not take a message: {cause}") from None


def _escaped(text: str) -> str:
    """As Slack wants it: nothing from outside becomes a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
