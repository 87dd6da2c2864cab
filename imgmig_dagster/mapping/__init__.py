"""What a source row becomes in the target: the declaration, the transformation, the comparison. All pure.

`source` and `target` read and write.
"""
