"""Hosts as network namespaces, each by a cable of its own on one bridge. Needs root and iproute2."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

BRIDGE: Final = "imgmig-hosts"
# Reserved for tests of networks (RFC 2544): no machine has a route there.
GATEWAY: Final = "198.18.57.1"
_GATEWAY_MAC: Final = "02:00:00:00:57:01"  # a bridge takes another one with each cable, unless it is given one
_NETWORK: Final = GATEWAY.rpartition(".")[0]


@dataclass(frozen=True)
class Host:
    """A namespace, which reaches what listens on `GATEWAY` and nothing else."""

    number: int

    @property
    def name(self) -> str:
        return f"host-{self.number}"

    @property
    def namespace(self) -> str:
        return f"{BRIDGE}-{self.number}"

    @property
    def cable(self) -> str:
        """The end of it that is in the root namespace."""
        return f"imgmig-host-{self.number}"

    def command(self, command: list[str]) -> list[str]:
        """What runs a command on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def cut(self) -> None:
        """Let nothing through: connections stay open, and nobody hears of it, as behind a switch that fails."""
        _ip("link", "set", self.cable, "down")

    def restore(self) -> None:
        """Let everything through again, what has waited for it first."""
        _ip("link", "set", self.cable, "up")

    def send(self, number: signal.Signals) -> int:
        """A signal for every process on it; returns how many there were."""
        pids = [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]
        for pid in pids:
            os.kill(pid, number)
        return len(pids)

    def set_up(self) -> None:
        inside = ("-n", self.namespace)
        _ip("netns", "add", self.namespace)
        _ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _ip("link", "set", self.cable, "master", BRIDGE, "up")
        _ip(*inside, "address", "add", f"{_NETWORK}.{10 + self.number}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")
        # Known for good. A process that asks for it hears that there is no such host, and gives up at once.
        _ip(*inside, "neighbour", "replace", GATEWAY, "lladdr", _GATEWAY_MAC, "dev", "eth0", "nud", "permanent")


@contextmanager
def network(count: int) -> Iterator[list[Host]]:
    """So many hosts; what an earlier campaign that was killed has left is removed first."""
    hosts = [Host(number) for number in range(1, count + 1)]
    _remove(hosts)
    try:
        _ip("link", "add", BRIDGE, "address", _GATEWAY_MAC, "type", "bridge")
        _ip("address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for host in hosts:
            host.set_up()
        yield hosts
    finally:
        _remove(hosts)


def _remove(hosts: list[Host]) -> None:
    namespaces, links = _ip("netns", "list").split(), _ip("-brief", "link").replace("@", " ").split()
    for host in hosts:
        if host.namespace in namespaces:
            host.send(signal.SIGKILL)
            _ip("netns", "delete", host.namespace)
    # A namespace goes in its own time, and its cable with it: the name has to be free at once.
    for link in (*(host.cable for host in hosts), BRIDGE):
        if link in links:
            subprocess.run(["ip", "link", "delete", link], check=False, stderr=subprocess.DEVNULL)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
