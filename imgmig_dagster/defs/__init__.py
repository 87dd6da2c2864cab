"""The platform as Dagster sees it: assets, checks, jobs, schedules, resources. Nothing else imports Dagster."""
