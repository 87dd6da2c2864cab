"""A webhook of the tests' own: it keeps what it is sent, and may be slow, busy or broken."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from imgmig_dagster_tests.listening import PostHandler, listening

SECRET = "canary-secret-path"


@dataclass
class Receiver:
    """`statuses` are its next answers; 200 after them. `retry_after` goes with each that is none.

    `on_message` is called before an answer, with the message kept already.
    """

    url: str = ""
    posts: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    retry_after: str | None = None
    on_message: Callable[[], object] | None = None
    asked: int = 0

    @property
    def texts(self) -> list[str]:
        return [post["text"] for post in self.posts]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A webhook that listens while the context lasts."""
    received = Receiver()

    class Handler(PostHandler):
        def answer(self, body: bytes) -> None:
            received.asked += 1
            status = received.statuses.pop(0) if received.statuses else 200
            if status == 200:
                received.posts.append(json.loads(body))
            if received.on_message is not None:
                received.on_message()
            self.send_response(status)
            if status != 200 and received.retry_after is not None:
                self.send_header("Retry-After", received.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Handler) as url:
        received.url = f"{url}/{SECRET}"
        yield received
