"""The one pass over a window: `walk` is its loop, `coverage` what it covered, `completeness` what it did not see.

`steps` holds what is done with the rows.
"""
