"""The platform in Dagster: assets, checks, jobs, schedules, sensors, resources. `local_runs` runs jobs in process."""
