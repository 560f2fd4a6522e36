"""Data sets: what they hold (`describe`, without torch), and feeds of uint8 batches (`bench.data.open.open_data`)."""

from bench.data.facts import DataFacts, describe

__all__ = ["DataFacts", "describe"]
