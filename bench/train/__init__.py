"""The one trainer, the same for every method."""
