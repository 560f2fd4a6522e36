"""The harness: everything that is the same for every mixing method."""
