"""Pure decisions, tested by tables. Who looks and who writes is in `steps`."""
