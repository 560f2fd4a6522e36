"""The commands of `mixbench` and their options: what may be said, not what is done about it."""
