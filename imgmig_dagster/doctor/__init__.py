"""Examines the services of a stage before anything is asked of them."""
