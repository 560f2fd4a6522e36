"""The executor that the options ask for, and what its workers are like."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BadInput
from bench.sweep.devices import Workers, limits, plan_workers
from bench.sweep.executors.api import Executor
from bench.sweep.executors.local import LocalExecutor
from bench.sweep.executors.settings import LocalSettings, RaySettings, SlurmSettings
from bench.sweep.options import Options


def planned_workers(options: Options) -> Workers:
    """The workers of a sweep. Elsewhere than on this machine they are like each other, one CPU thread each by default.

    BadInput for options that only the local executor has.
    """
    if isinstance(options.executor, LocalSettings):
        return plan_workers(options.device, options.workers, options.threads)
    if options.workers is not None:
        raise BadInput("--workers: belongs to --executor local; elsewhere the resources of a run decide how many fit")
    threads = options.threads or 1
    return Workers([limits(threads)], options.device, threads, "cpu" if options.device == "cpu" else "cuda")


def make_executor(options: Options, workers: Workers, logs: Path) -> Executor:
    """A fresh executor for one list of tasks. BadInput where its extra is not installed."""
    settings = options.executor
    if isinstance(settings, RaySettings):
        from bench.sweep.executors.ray import RayExecutor

        return RayExecutor(settings, workers, logs, options.run_timeout)
    if isinstance(settings, SlurmSettings):
        from bench.sweep.executors.slurm import SlurmExecutor

        return SlurmExecutor(settings, workers, logs, options.run_timeout)
    return LocalExecutor(workers.environments, logs, options.run_timeout, options.lock)
