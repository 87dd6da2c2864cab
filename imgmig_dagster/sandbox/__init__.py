"""A throw-away PostgreSQL and AWS on loopback, for development, demos and tests.

Needs the extra ``sandbox``. Only config.py's dev default and the command line may import this package, and
importing it is cheap: database drivers and servers are imported where they are used.
"""

from imgmig_dagster.sandbox.environment import Sandbox, SandboxNotRunning
from imgmig_dagster.sandbox.record import SandboxStatus
from imgmig_dagster.sandbox.seed import SeedError

__all__ = ["Sandbox", "SandboxNotRunning", "SandboxStatus", "SeedError"]
