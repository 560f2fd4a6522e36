"""Step times that can be compared: all methods in turns in one process."""
