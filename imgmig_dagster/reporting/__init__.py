"""Reports from evidence: one summary per stage as JSON, Markdown, HTML and CSV, and the page of a spot check."""
