"""From a table to its declaration: `imgmig mapping draft` writes one, `imgmig mapping check` says whether one fits.

`seen` is what was found on both sides, `choices` and `names` decide, `written` makes the YAML; `draft` does all of it.
"""
