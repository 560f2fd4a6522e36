"""Image corruptions as batched tensor operations: every random number comes in, nothing is drawn inside."""
