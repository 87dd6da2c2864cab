"""The instants at which a process dies, and how it is brought to die exactly there.

None of our code is replaced. On a local directory the interpreter's audit hook sees every file that is opened,
renamed or removed; on S3 botocore's own events see every request; the kernel itself ends a process whose file grows
past a limit, which is how a file comes to be written by half.
"""

import os
import resource
import signal
import socket
import sys
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import botocore

PROGRESS = "/migration-progress.json"
FAILURES = "/migration-failures.json"
PASSES = "/passes/"
_HALF_A_CHECKPOINT = 200


class Point(str, Enum):
    """Where in a pass; the value is what people read."""

    RANDOM = "random instant"
    AFTER_READ = "after read"
    UNANSWERED = "items written, unanswered"
    BEFORE_CHECKPOINT = "between write and checkpoint"
    HALF_CHECKPOINT = "checkpoint by half"
    CHECKPOINT_UNDER_WAY = "checkpoint written, not in place or unanswered"
    AFTER_CHECKPOINT = "after the checkpoint"
    BEFORE_RECORD = "before the pass' record"
    AFTER_RECORD = "after the record"
    BEFORE_EVENT = "before Dagster's event"


AT_THE_TARGET = (Point.AFTER_READ, Point.UNANSWERED)
IN_THE_PROCESS = (
    Point.BEFORE_CHECKPOINT,
    Point.HALF_CHECKPOINT,
    Point.CHECKPOINT_UNDER_WAY,
    Point.AFTER_CHECKPOINT,
    Point.BEFORE_RECORD,
    Point.AFTER_RECORD,
)


class Trap:
    """Sends this process a signal when it comes to the point for the `nth` time.

    SIGKILL, or SIGSTOP: then it goes on from there on SIGCONT.
    """

    def __init__(self, point: Point, nth: int, number: signal.Signals = signal.SIGKILL) -> None:
        self._point = point
        self._left = nth
        self._number = number
        self._near = False

    def set(self) -> None:
        """From here on."""
        # Python ignores it otherwise, and the process would see an error instead of its end.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        sys.addaudithook(self._audit)
        botocore.register_initializer(self._listen)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove") or isinstance(arguments[0], int):
            return
        path = os.fsdecode(arguments[1 if event == "os.rename" else 0])
        # After a checkpoint its folder is opened, to be synchronized; after the pass its ledger is read.
        if self._near and (self._point is Point.AFTER_CHECKPOINT or path.endswith(FAILURES)):
            self._spring()
        if _happens(path, event, _FILES_BEFORE.get(self._point)):
            self._near = self._arrived()
        if _happens(path, event, _FILES.get(self._point)) and self._arrived():
            if self._point is Point.HALF_CHECKPOINT:
                _write_no_more()
            else:
                self._spring()

    def _listen(self, session: Any) -> None:
        session.register("before-send.s3", self._before_send)
        session.register("response-received.s3.PutObject", self._answered)

    def _before_send(self, request: Any, **_event: Any) -> None:
        path = urlsplit(request.url).path
        if self._near and path.endswith(FAILURES):
            self._spring()
        if _happens(path, request.method, _REQUESTS_BEFORE.get(self._point)):
            self._near = self._arrived()
        if _happens(path, request.method, _REQUESTS.get(self._point)) and self._arrived():
            if self._point in _SENT:
                _send(request, _SENT[self._point])
            self._spring()

    def _answered(self, **_event: Any) -> None:
        if self._near and self._point is Point.AFTER_CHECKPOINT:
            self._spring()

    def _arrived(self) -> bool:
        self._left -= 1
        return self._left == 0

    def _spring(self) -> None:
        self._near = False
        os.kill(os.getpid(), self._number)


def _happens(path: str, event: str, expected: tuple[str, str] | None) -> bool:
    return expected is not None and event == expected[0] and expected[1] in path


# At which event a process is at a point, or just before it. A checkpoint is read before it is replaced.
_FILES_BEFORE = {Point.AFTER_CHECKPOINT: ("os.rename", PROGRESS), Point.BEFORE_EVENT: ("os.remove", PROGRESS)}
_REQUESTS_BEFORE = {Point.AFTER_CHECKPOINT: ("PUT", PROGRESS), Point.BEFORE_EVENT: ("DELETE", PROGRESS)}
_FILES = {
    Point.BEFORE_CHECKPOINT: ("open", PROGRESS),
    Point.HALF_CHECKPOINT: ("open", PROGRESS),
    Point.CHECKPOINT_UNDER_WAY: ("os.rename", PROGRESS),
    Point.BEFORE_RECORD: ("os.rename", PASSES),
    Point.AFTER_RECORD: ("os.remove", PROGRESS),
}
_REQUESTS = {
    Point.BEFORE_CHECKPOINT: ("PUT", PROGRESS),
    Point.HALF_CHECKPOINT: ("PUT", PROGRESS),
    Point.CHECKPOINT_UNDER_WAY: ("PUT", PROGRESS),
    Point.BEFORE_RECORD: ("PUT", PASSES),
    Point.AFTER_RECORD: ("DELETE", PROGRESS),
}
# How much of the request reaches S3 all the same.
_SENT = {Point.HALF_CHECKPOINT: 0.5, Point.CHECKPOINT_UNDER_WAY: 1.0}


def _write_no_more() -> None:
    """The kernel ends the process in the middle of the next file that it writes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_HALF_A_CHECKPOINT, _HALF_A_CHECKPOINT))


def _send(request: Any, share: float) -> None:
    """Send this share of a request; of a whole one, wait until it is carried out."""
    address = urlsplit(request.url)
    body = request.body.read() if hasattr(request.body, "read") else request.body
    headers = {**request.headers, "Host": address.netloc, "Content-Length": str(len(body))}
    headers.pop("Expect", None)
    lines = [f"{request.method} {address.path} HTTP/1.1"]
    for name, value in headers.items():
        lines.append(f"{name}: {value.decode() if isinstance(value, bytes) else value}")
    head = "\r\n".join([*lines, "", ""]).encode()
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head + body[: int(len(body) * share)])
        if share == 1.0:
            connection.recv(1)
