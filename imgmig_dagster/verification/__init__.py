"""Does the target hold what the source holds? Comparison of partitions, of the whole, and of a sample."""
