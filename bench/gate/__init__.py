"""The gate: whether new runs are as good, or as fast, as a stored baseline."""
