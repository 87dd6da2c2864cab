"""Pure decisions, tested by tables: `existing_item` decides what to do with an item, `brake` how many may be deleted.

`steps` reads and writes.
"""
