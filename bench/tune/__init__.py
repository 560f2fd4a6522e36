"""Equal tuning: the same number of trials for every method, chosen on validation images. Never imports torch."""
