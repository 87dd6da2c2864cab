"""Imports the modules that it is given, and fails where one of them does more than be imported.

A program of its own: the hook has to stand before anything of this project or of Dagster is imported.
"""

import importlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

_FORBIDDEN = ("socket.connect", "subprocess.Popen", "os.mkdir", "os.remove", "os.rename")


def main(modules: list[str]) -> None:
    found: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN or (event == "open" and writes(arguments[1])):
            module = imported_just_now(sys._getframe())
            # What others do while they are imported is not ours to judge.
            if module.partition(".")[0] == "imgmig_dagster":
                found.append(f"{module}: {event}{str(arguments)[:200]}")

    sys.addaudithook(watch)
    for module in modules:
        importlib.import_module(module)
    sys.exit("\n".join(found) or 0)


def writes(mode: Any) -> bool:
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))


def imported_just_now(frame: FrameType | None) -> str:
    """The module whose own statements are being executed."""
    return next((each.f_globals["__name__"] for each in stack(frame) if each.f_code.co_name == "<module>"), "")


def stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


if __name__ == "__main__":
    main(sys.argv[1:])
