"""Unit tests read no example from an earlier run, and are not timed one by one."""

from hypothesis import HealthCheck, settings

settings.register_profile("imgmig", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("imgmig")
