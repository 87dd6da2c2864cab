"""Reports from evidence: a stage's summary as JSON, Markdown, HTML and CSV, and the page of a spot check."""
