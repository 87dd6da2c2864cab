"""When Python looks for cyclic garbage: seldom during a pass, and never among what a program is made of."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Collect cyclic garbage less often while the context lasts.

    Rows and items are thousands of containers without a cycle among them: reference counts free them, and looking
    for cycles was a fifth of the CPU of a pass (docs/benchmarks.md).
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


@contextmanager
def kept_for_good() -> Iterator[None]:
    """What the context makes stays as long as the process: no garbage is looked for in it, then or later.

    Modules, classes and definitions are a million objects. Looking through them, at each import and once more when
    the process ends, was two fifths of the CPU of a start (docs/benchmarks.md).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
