"""A throw-away PostgreSQL and AWS on loopback, for development, demos and tests.

Needs the extra ``sandbox``. Importing this package is cheap: database drivers and servers are imported where they are
used. `attaching` starts it for the stage dev.
"""

from imgmig_dagster.sandbox.environment import Sandbox
from imgmig_dagster.sandbox.record import SandboxStatus
from imgmig_dagster.sandbox.seed import SeedError

__all__ = ["Sandbox", "SandboxStatus", "SeedError"]
