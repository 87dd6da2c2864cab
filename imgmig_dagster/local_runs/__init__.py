"""Runs jobs in the process of a command: its instance, its signals, its dead runs, and Dagster's private parts."""
