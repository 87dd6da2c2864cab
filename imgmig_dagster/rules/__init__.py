"""Pure decisions over plain values, tested by tables.

- `existing_item`: what to do with an item that already exists
- `brake`: how many items may be deleted
- `failing`: when so many rows fail that a pass stops
- `differences`: when a difference between row and item counts
- `invalidation`: when evidence no longer counts

`steps` and `verification` read and write.
"""
