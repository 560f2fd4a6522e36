"""One run, from spec to finished record."""
