"""PgBouncer and pgpool-II as Debian brings them, before the tests' PostgreSQL."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from imgmig_dagster.sandbox.process import HOST

PROGRAMS = {
    name: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") for name in ("pgbouncer", "pgpool")
}
_PATIENCE_S = 20.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


@contextmanager
def pgbouncer(
    postgres_port: int, pool_mode: str, users: Sequence[str], user: str = "", pool_size: int = 2, **settings: object
) -> Iterator[int]:
    """PgBouncer before a server; yields its port. With `user` every client shares the connections of that role."""
    port = free_port()
    content = {
        "listen_addr": HOST,
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any" if user else "trust",
        "auth_file": "users",
        "pool_mode": pool_mode,
        "default_pool_size": pool_size,
        **settings,
    }
    database = f"* = host={HOST} port={postgres_port}" + (f" user={user}" if user else "")
    with _folder() as folder:
        (folder / "users").write_text("".join(f'"{name}" ""\n' for name in users))
        (folder / "pgbouncer.ini").write_text(f"[databases]\n{database}\n[pgbouncer]\n{_lines(content)}")
        with _running([PROGRAMS["pgbouncer"] or "", "-q", "pgbouncer.ini"], folder, port):
            yield port


@contextmanager
def pgpool(primary_port: int, standby_port: int, user: str) -> Iterator[int]:
    """pgpool-II with its default load balancing, which sends every read that it may to the standby."""
    port = free_port()
    with _folder() as folder:
        content = {
            "backend_clustering_mode": "streaming_replication",
            "listen_addresses": HOST,
            "port": port,
            **dict.fromkeys(("socket_dir", "unix_socket_directories", "pcp_socket_dir", "logdir", "work_dir"), folder),
            "pcp_listen_addresses": "",
            "pcp_port": free_port(),
            "pid_file_name": folder / "pgpool.pid",
            "backend_hostname0": HOST,
            "backend_port0": primary_port,
            "backend_weight0": 0,
            "backend_hostname1": HOST,
            "backend_port1": standby_port,
            "backend_weight1": 1,
            "num_init_children": 4,
            "sr_check_period": 1,
            "sr_check_user": user,
            "sr_check_database": "postgres",
            "pool_passwd": "",
        }
        lines = {name: value if isinstance(value, int) else f"'{value}'" for name, value in content.items()}
        (folder / "pgpool.conf").write_text(_lines(lines))
        for name in ("pcp.conf", "pool_hba.conf"):
            (folder / name).touch()
        files = ["-f", "pgpool.conf", "-F", "pcp.conf", "-a", "pool_hba.conf"]
        with _running([PROGRAMS["pgpool"] or "", "-n", *files], folder, port):
            yield port


def _lines(settings: Mapping[str, object]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


@contextmanager
def _folder() -> Iterator[Path]:
    # Not pytest's: as root the pooler runs as `nobody`, who cannot enter that.
    folder = Path(tempfile.mkdtemp(prefix="imgmig-pooler-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    log = folder / "log"
    owner: dict[str, int] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        owner = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for path in (folder, *folder.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
            extra_groups=[] if owner else None,
            **owner,  # type: ignore[call-overload]
        )
    try:
        _wait_for(port, process, log)
        yield
    finally:
        # pgpool's children are a group with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM if "pgpool" not in command[0] else signal.SIGINT)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"the pooler did not start:\n{log.read_text(errors='replace')}")
