"""From a table to its declaration: `imgmig mapping draft` writes one, `imgmig mapping check` says whether one fits.

`seen` holds what was found on both sides, `choices` and `drafted_names` decide, `written` makes the YAML, and `draft`
runs all three.
"""
