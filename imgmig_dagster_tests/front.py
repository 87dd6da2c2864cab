"""Sends replies over HTTP as DynamoDB does, and counts what would have hurt another client."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from imgmig_dagster.sandbox import wire


@dataclass
class Front:
    """`closed` counts the connections that were closed after so many requests, `compressed` the replies that were."""

    closed: int = 0
    compressed: int = 0
    _answered: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)

    async def send(self, request: web.Request, status: int, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
        """Send a reply; `headers` replace DynamoDB's own of that name."""
        encoded = wire.encode(status, body, request.headers.get("Accept-Encoding", ""))
        self.compressed += encoded.headers.get("Content-Encoding") == "gzip"
        response = web.StreamResponse(status=status, headers={**encoded.headers, **headers})
        if len(encoded.pieces) > 1:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(encoded.pieces[0])
        answered = self._answered.get(request.transport, 0) + 1
        self._answered[request.transport] = answered
        if answered >= wire.REQUESTS_PER_CONNECTION:
            self.closed += 1
            response.force_close()
        # A client that was killed, or gave up, is gone.
        with suppress(ConnectionResetError):
            await response.prepare(request)
            for piece in encoded.pieces:
                await response.write(piece)
            await response.write_eof()
        return response
