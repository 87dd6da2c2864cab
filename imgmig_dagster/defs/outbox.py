"""Keeps a sensor's alerts, so that each fault is sent once, even if a tick is cut off. `sensors` finds the faults."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final

import dagster as dg
from pydantic import TypeAdapter

from imgmig_dagster.defs.alerts import Alert, AlertFault, AlertNotSent, Webhook
from imgmig_dagster.local_runs.dagster_internals import note, noted
from imgmig_dagster.remedies import Remedy
from imgmig_dagster.state.records import renamed
from imgmig_dagster.window import now

# Of the 60 s that Dagster gives a tick; the last message may take 15 s more.
_SENDING_S: Final = 25.0


@dataclass
class _Cursor:
    """`after` is the last event read. `alerted` holds what was sent about each fault that still lasts. `pending` are
    the faults to send, not before `wait_until`, ISO 8601.
    """

    after: int | None = None
    alerted: Annotated[dict[str, str], renamed("alerted", "told")] = field(default_factory=dict)
    pending: dict[str, AlertFault] = field(default_factory=dict)
    wait_until: str | None = None


_CURSORS: Final = TypeAdapter(_Cursor)


class Outbox:
    """The faults that one sensor found, of a `table` where the stage has several.

    Unless the faults are `lasting`, each one is new, and none is remembered.

    Dagster's cursor keeps them, but a tick that is cut off does not move the cursor. So after each message a note of
    what was sent goes to Dagster's storage, with the cursor that the tick began with. The next tick that begins with
    the same cursor reads the note; the end of each tick deletes it.
    """

    def __init__(
        self,
        context: dg.SensorEvaluationContext,
        stage: str,
        sensor: str,
        table: str | None = None,
        lasting: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._stage = stage
        self._table = table
        self._lasting = lasting
        self._begun = context.cursor
        self._clock = clock
        self._deadline = clock() + _SENDING_S
        self._key = f"imgmig/outbox/{stage}/{sensor}"
        self._cursor = self._noted() or _Cursor()

    @property
    def after(self) -> int | None:
        """The last event read; None at the first tick."""
        return self._cursor.after

    @after.setter
    def after(self, event: int) -> None:
        self._cursor.after = event

    @property
    def cursor(self) -> str:
        """All of it, as Dagster keeps it."""
        return _CURSORS.dump_json(self._cursor).decode()

    @property
    def faults(self) -> set[str]:
        """The faults that last, alerted or not."""
        return {*self._cursor.alerted, *self._cursor.pending}

    def put(self, name: str, fault: AlertFault) -> None:
        """Add a fault to alert, unless the same alert was sent for it."""
        if self._cursor.alerted.get(name) == _said(fault):
            self._cursor.pending.pop(name, None)
        else:
            self._cursor.pending[name] = fault

    def resolve(self, name: str) -> None:
        """Forget a fault that is gone: it is alerted again if it comes back."""
        self._cursor.alerted.pop(name, None)
        self._cursor.pending.pop(name, None)

    def send(self, webhook: Webhook, ui: str) -> dg.SkipReason:
        """Send what is pending, one message for each kind of fault, within a tick's time; then move the cursor.

        A later tick sends the rest.
        """
        sent = 0
        if self._cursor.wait_until is None or self._cursor.wait_until <= now():
            self._cursor.wait_until = None
            sent = self._send(webhook, ui)
        left = len(self._cursor.pending)
        self._context.update_cursor(self.cursor)
        if sent:
            self._note(None)
        return dg.SkipReason(f"{sent} messages sent; {left} faults are sent at a later tick")

    def _send(self, webhook: Webhook, ui: str) -> int:
        kinds: dict[tuple[str, str, Remedy], dict[str, AlertFault]] = {}
        for name, fault in self._cursor.pending.items():
            kinds.setdefault(fault.kind, {})[name] = fault
        sent = 0
        for faults in kinds.values():
            if self._clock() >= self._deadline:
                break
            try:
                webhook.send(Alert(self._stage, ui, list(faults.values()), self._table))
            except AlertNotSent as error:
                self._context.log.error(str(error))
                if error.retryable:
                    until = datetime.fromisoformat(now()) + timedelta(seconds=error.wait_s)
                    self._cursor.wait_until = until.isoformat(timespec="milliseconds")
                    break
                continue
            for name, fault in faults.items():
                if self._lasting:
                    self._cursor.alerted[name] = _said(fault)
                del self._cursor.pending[name]
            sent += 1
            self._note(self.cursor)
        return sent

    def _noted(self) -> _Cursor | None:
        stored = noted(self._context.instance, self._key)
        last = json.loads(stored) if stored else {}
        cursor = last["cursor"] if last and last["begun"] == self._begun else self._begun
        return _CURSORS.validate_json(cursor) if cursor else None

    def _note(self, cursor: str | None) -> None:
        text = json.dumps({"begun": self._begun, "cursor": cursor}) if cursor else ""
        note(self._context.instance, self._key, text)


def _said(fault: AlertFault) -> str:
    return f"{fault.verdict} {json.dumps(dict(fault.counts), sort_keys=True)} {'; '.join(fault.keys)}"
