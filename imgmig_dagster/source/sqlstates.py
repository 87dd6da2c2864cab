"""What PostgreSQL's errors mean, by SQLSTATE: what happened, what to do next, and whether another try is worth it.

docs/errors.md holds the same table for people. No message shows the server's text, which can hold values. Texts of
libpq and of a pooler about the connection hold none, and tell one cause from another.
"""

import re
from dataclasses import dataclass
from typing import Final

import psycopg

from imgmig_dagster.errors import (
    LoginRefused,
    SessionRefused,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    UnreadableText,
)


@dataclass(frozen=True)
class SqlStateMeaning:
    """One line of the table. `again`: the same statement is worth another try within seconds."""

    what: str
    advice: str
    kind: type[SourceError] = SourceRefused
    again: bool = False

    def error(self, name: str, shown: str = "") -> SourceError:
        """The error that says so."""
        text = f"{self.what} ({name}){': ' + shown if shown else ''}: {self.advice}"
        return SourceUnavailable(text, self.again) if self.kind is SourceUnavailable else self.kind(text)


_BACK: Final = "give the same command again once it is back"
_DBA: Final = "ask the server's administrator; then give the same command again"

MEANINGS: Final = {
    "08": SqlStateMeaning("the connection to PostgreSQL broke", _BACK, SourceUnavailable, again=True),
    "08P01": SqlStateMeaning("the connection or its pooler gave up", _BACK, SourceUnavailable, again=True),
    "0A000": SqlStateMeaning(
        "PostgreSQL does not have a feature that the statement needs",
        "imgmig needs PostgreSQL 12 or later (docs/mapping.md: what needs 13 or 14)",
    ),
    "22021": SqlStateMeaning("a value's bytes are no text", "fix the row, which is in no encoding", UnreadableText),
    "22P05": SqlStateMeaning("a value has no form in UTF-8", "fix the row", UnreadableText),
    "25006": SqlStateMeaning(
        "a statement tried to write", "is the source a view whose function writes? Read from its table"
    ),
    "25P03": SqlStateMeaning(
        "PostgreSQL ended a session that idled in a transaction", _BACK, SourceUnavailable, again=True
    ),
    "25P04": SqlStateMeaning("a transaction took longer than the role's transaction_timeout", "raise it for this role"),
    "28": SqlStateMeaning(
        "PostgreSQL refuses the login", "is the role there, and let in by pg_hba.conf?", LoginRefused
    ),
    "28P01": SqlStateMeaning(
        "PostgreSQL refuses the password", "correct url in [source]; it was tried once only", LoginRefused
    ),
    "3D000": SqlStateMeaning(
        "there is no such database", "correct the name of the database in url in [source]", LoginRefused
    ),
    "40": SqlStateMeaning("PostgreSQL broke a statement off for a conflict", _BACK, SourceUnavailable, again=True),
    "42501": SqlStateMeaning(
        "the role does not have a right", "imgmig doctor names it; deploy/reader_role.sql grants what is needed"
    ),
    "42703": SqlStateMeaning(
        "a mapped column is not there", "was it renamed or dropped? Fix the table, then run imgmig doctor"
    ),
    "42P01": SqlStateMeaning(
        "the table is not there", "was it renamed or dropped? See `table` in the declaration, then run imgmig doctor"
    ),
    "53100": SqlStateMeaning("the server's disk is full", _DBA, SourceUnavailable),
    "53200": SqlStateMeaning("the server is out of memory", _DBA, SourceUnavailable),
    "53300": SqlStateMeaning(
        "the server has no connection to spare", "raise its limit, or run less at once", SourceUnavailable, again=True
    ),
    "53400": SqlStateMeaning("the server reached a limit of its configuration", _DBA, SourceUnavailable),
    "53": SqlStateMeaning("the server has run out of a resource", _DBA, SourceUnavailable),
    "54": SqlStateMeaning(
        "a statement is beyond a limit of the server",
        "raise it, or name a view of fewer columns by `table` in the declaration",
    ),
    "55P03": SqlStateMeaning(
        "another session holds a lock on the table, and did not let go within 10 s",
        "give the same command again when its migration or VACUUM FULL is over",
        SourceUnavailable,
    ),
    "57014": SqlStateMeaning(
        "a statement took longer than 10 minutes",
        "is there an index on the order column and the id? imgmig doctor prints it",
    ),
    "57P01": SqlStateMeaning(
        "PostgreSQL shuts down, or an administrator ended the session", _BACK, SourceUnavailable, True
    ),
    "57P02": SqlStateMeaning("PostgreSQL crashed, and recovers", _BACK, SourceUnavailable, again=True),
    "57P03": SqlStateMeaning("PostgreSQL starts up or shuts down", _BACK, SourceUnavailable, again=True),
    "57P05": SqlStateMeaning("PostgreSQL ended an idle session", _BACK, SourceUnavailable, again=True),
    "58030": SqlStateMeaning("the server cannot read or write its files", _DBA),
    "58": SqlStateMeaning("the server's system failed", _DBA),
    "XX001": SqlStateMeaning("the server's data are damaged", "write nothing there; have it checked by pg_amcheck"),
    "XX002": SqlStateMeaning("an index of the server is damaged", "have it checked by pg_amcheck, and reindexed"),
}

_CANCELED: Final = SqlStateMeaning("somebody canceled a statement", "give the same command again", SourceUnavailable)
_REPLICA: Final = "is a replica, whose rows are late: point url in [source] at the primary"
_STATEMENT_POOLING: Final = SessionRefused(
    "the pooler before PostgreSQL is in statement mode, and refuses every transaction: have it set to transaction or "
    "session mode for this database, or name PostgreSQL itself in url in [source]"
)

# libpq gives a refused login no SQLSTATE, and a pooler gives all its own errors one. In this order: first what another
# try cannot fix. A password that one host refused is then not tried again because another host is away.
_CONNECTION_TEXTS: Final = {
    "28P01": "password authentication failed|SASL authentication failed|auth failed|no password supplied",
    "3D000": 'database "[^"]*" does not exist|no such database',
    "42501": "permission denied for database",
    "28000": 'no pg_hba.conf entry|pg_hba.conf rejects|role "[^"]*" does not exist|not permitted to log in'
    "|authentication failed|no such user",
    "53300": "too many clients|too many connections|remaining connection slots|no more connections allowed",
    "57P03": "is starting up|is shutting down|in recovery mode|not yet accepting connections|not accepting connections",
}
# The server's own "FATAL: ", in any language.
_ANSWERED: Final = re.compile(r"failed: \S+:  ")
_OBJECT: Final = re.compile(r"permission denied for \w+ \S+")
_QUOTED: Final = re.compile('"[^"]*"')
_TABLE: Final = re.compile('["«„“»](?P<name>[^"«„“»”]+)["«„“»”]')


def to_source_error(error: psycopg.Error, role: str, known: bool) -> SourceError:
    """psycopg's error as a `SourceError`. `role` reads; `known`: the same URL reached a primary before."""
    if error.sqlstate is None:
        return _connection_failed(error, known) if isinstance(error, psycopg.OperationalError) else _unknown(error)
    text = error.diag.message_primary or str(error)
    if error.sqlstate == "08P01":
        return _of_a_pooler(error, text)
    if error.sqlstate == "42501":
        return _no_right(error, text, role)
    if error.sqlstate == "57014" and "user request" in text:
        return _CANCELED.error(_name(error))
    meaning = MEANINGS.get(error.sqlstate) or MEANINGS.get(error.sqlstate[:2])
    return meaning.error(_name(error)) if meaning else _unknown(error)


def refuses_password(error: psycopg.Error) -> bool:
    """Whether a server refused a login for its password. Another host of the URL would refuse it too."""
    return _of_login(error) == "28P01"


def replica(known: bool) -> SourceError:
    """The error for rows, or a session, of a replica. If the URL led to a primary before, it says to wait."""
    if known:
        return SourceUnavailable("PostgreSQL's primary is away, and a replica answers: wait for the failover to end")
    return SessionRefused(f"the server at url in [source] {_REPLICA}")


def _no_right(error: psycopg.Error, text: str, role: str) -> SourceError:
    if error.diag.source_function == "check_enable_rls" or "row-level security" in text:
        found = _TABLE.search(text)
        table = f"table {found['name']}" if found else "the table"
        return SourceRefused(
            f"row-level security of {table} hides rows from role {role}, and PostgreSQL refuses to filter them "
            f"(SQLSTATE 42501): a superuser grants ALTER ROLE {role} BYPASSRLS (through a view or function, to its "
            "owner)"
        )
    meaning = MEANINGS["42501"]
    shown = _OBJECT.match(text)
    return meaning.error(_name(error), f"{role}, {shown[0]}" if shown else role)


def _of_a_pooler(error: psycopg.Error, text: str) -> SourceError:
    if "statement pooling" in text:
        return _STATEMENT_POOLING
    sqlstate = _by_text(text) or "08P01"
    return _at_login(sqlstate).error(_name(error), _QUOTED.sub('"..."', text))


def _connection_failed(error: psycopg.Error, known: bool) -> SourceError:
    lines = [line for line in str(error).strip().splitlines() if line] or [type(error).__name__]
    # psycopg tries the hosts one by one, and lists what happened with each.
    failures = [line for line in lines if line.startswith("- host")] or lines[:1]
    text, everything = "; ".join(failures), "\n".join(lines)
    # libpq quotes a parameter that it cannot read. It may be part of a password that was not percent-encoded.
    text = _QUOTED.sub('"..."', text) if text.startswith("connection is bad") else text
    if "unsupported startup parameter" in everything:
        return SessionRefused(f"the pooler before PostgreSQL refuses a parameter of url in [source]: {text}")
    if "session is read-only" in everything:
        return SessionRefused(
            "no session of this role may write, and target_session_attrs=read-write in url in [source] asks for "
            "one: write target_session_attrs=primary"
        )
    sqlstate = _of_login(error)
    if sqlstate and not (sqlstate == "42501" and known):
        return _at_login(sqlstate).error(f"SQLSTATE {sqlstate}", text)
    if "hot standby" in everything and len(failures) == 1:
        return replica(known)
    return SourceUnavailable(
        f"PostgreSQL cannot be reached: {text}: check host and port of url in [source], or {_BACK}"
    )


def _of_login(error: psycopg.Error) -> str | None:
    sqlstate = _by_text(str(error))
    if sqlstate is None and getattr(error.pgconn, "used_password", False) and _ANSWERED.search(str(error)):
        return "28P01"
    return sqlstate


def _at_login(sqlstate: str) -> SqlStateMeaning:
    # Here the missing right is the right to connect. A right that was revoked during the run may be granted again.
    return MEANINGS["28"] if sqlstate == "42501" else MEANINGS.get(sqlstate, MEANINGS["28"])


def _by_text(text: str) -> str | None:
    return next((sqlstate for sqlstate, known in _CONNECTION_TEXTS.items() if re.search(known, text)), None)


def _unknown(error: psycopg.Error) -> SourceError:
    if isinstance(error, psycopg.OperationalError):
        return SourceUnavailable(f"PostgreSQL broke a statement off: {_name(error)}", again=False)
    return SourceRefused(f"PostgreSQL refused a statement: {_name(error)}")


def _name(error: psycopg.Error) -> str:
    return type(error).__name__ + (f", SQLSTATE {error.sqlstate}" if error.sqlstate else "")
