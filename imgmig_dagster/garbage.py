"""Controls when Python collects cyclic garbage: rarely during a pass, and never among a program's own objects."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Collect cyclic garbage less often while the context lasts.

    Rows and items are thousands of containers without cycles: reference counts free them. Looking for cycles was a
    fifth of the CPU of a pass (docs/benchmarks.md).
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Objects made in the context live as long as the process: they are never searched for garbage.

    Modules, classes and definitions are a million objects. Searching them, at each import and when the process ends,
    was two fifths of the CPU of a start (docs/benchmarks.md).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
