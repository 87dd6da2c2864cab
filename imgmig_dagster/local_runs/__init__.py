"""Runs jobs in a command's own process: its instance, signals and dead runs. Dagster's private parts are used only
here."""
