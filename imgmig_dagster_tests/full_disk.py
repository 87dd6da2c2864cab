"""Disks that take no more, for every user of the machine: a limit on the size of files stands in for a full disk."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

LIMITED = (
    "import os, resource, sys; sys.dont_write_bytecode = True; os.environ['PYTHONDONTWRITEBYTECODE'] = '1'; "
    "resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
)
"""Code with which a process limits itself; its children inherit the limit.

CPython 3.11 does not see that the bytecode of a module was cut off by the limit, and the next process cannot read it.
"""


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """This process can write no file beyond that size while the context lasts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root, whom no permission stops, becomes nobody; any other user stays who he is."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)
