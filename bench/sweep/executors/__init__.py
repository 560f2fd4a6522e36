"""Where tasks are done: in processes here, on a Ray cluster, as jobs of SLURM. One small interface, equal results."""
