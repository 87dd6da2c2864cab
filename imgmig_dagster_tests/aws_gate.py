"""A gate before the emulator of all of AWS's services: it notes who asks, and may answer itself in AWS's words."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from imgmig_dagster_tests.listening import ForwardingHandler, serving


@dataclass(frozen=True)
class Asked:
    """A request: its service and operation as far as they can be told, and the access key that it is signed with."""

    service: str
    operation: str
    access_key: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A whole reply, or none where `lost`: the connection is closed then. With `carried_out` AWS has done it first.

    Where `cut` it is AWS's own, of which one half arrives.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    carried_out: bool = False
    cut: bool = False


Rule = Callable[[Asked], "Answer | None"]


class AwsGate(ThreadingHTTPServer):
    """`rule` may answer a request in place of the emulator; `asked` are all of them."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.asked: list[Asked] = []
        self.rule: Rule = lambda _asked: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of(self, service: str, operation: str = "") -> list[Asked]:
        return [each for each in self.asked if each.service == service and operation in ("", each.operation)]


def refused(asked: Asked, code: str, message: str = "", date: str | None = None) -> Answer:
    """A refusal in the words of the service that was asked."""
    headers = {"Date": date} if date else {}
    if asked.service == "dynamodb":
        body = json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": message}).encode()
        return Answer(400, body, {**headers, "Content-Type": "application/x-amz-json-1.0"})
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if asked.service == "sts":
        error = f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"
    return Answer(403, error.encode(), {**headers, "Content-Type": "application/xml"})


class _Handler(ForwardingHandler):
    server: AwsGate

    def judge(self) -> None:
        body = self.body()
        asked = self._asked(body)
        self.server.asked.append(asked)
        answer = self.server.rule(asked)
        cut = answer is not None and answer.cut
        if answer is None or answer.carried_out or cut:
            status, content, headers = self.carry_out(self.server.upstream, self.path, body)
            replied = Answer(status, content, dict(headers))
            answer = replied if answer is None or cut else answer
        if answer.lost:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Date" not in answer.headers:
            self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if cut:
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(answer.body)

    def _asked(self, body: bytes) -> Asked:
        credential = self.headers.get("Authorization", "").partition("Credential=")[2].split("/")
        service = credential[3] if len(credential) > 3 else ""
        target = self.headers.get("X-Amz-Target", "")
        form = parse_qs(body.decode("utf-8", "replace")) if "urlencoded" in self.headers.get("Content-Type", "") else {}
        operation = target.rpartition(".")[2] or form.get("Action", [self.command])[0]
        if not service and form:
            service = "sts"  # to trade a token for credentials needs no signature
        return Asked(service, operation, credential[0], self.path, dict(self.headers.items()))


@contextmanager
def aws_gate(upstream: str) -> Iterator[AwsGate]:
    """A gate before the server at that URL."""
    with serving(AwsGate(upstream)) as gate:
        yield gate
