"""How many runs a second one folder of results carries: workers that train nothing, through real leases and records.

    python tools/folder_rates.py /nfs/place --workers 1 8 64 --runs 512

Each run takes a lease, makes an attempt, writes `begin`, epoch lines and `end` as a real one does, each forced onto the
disk, and gives the lease back. `--sweeps` processes besides list the folder's runs again and again, as sweeps do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path

from bench.records import TRAIN_FILE, RecordWriter, Store
from bench.records.lease import acquire, holder

PROVENANCE = {"processor": "synthetic", "threads": 1, "gpu": None}


def main() -> int:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where a folder for the time of the measurement is made")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--runs", type=int, default=512, help="of each measurement, shared by its workers")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sweeps", type=int, default=0, help="processes that look at all runs again and again")
    options = parser.parse_args()
    print("| Workers | Sweeps | Runs/s | Lines/s | CPU of a run, ms | Claims that another had | Looks at all runs/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for workers in options.workers:
        print(row(options.folder, workers, options.runs, options.epochs, options.sweeps), flush=True)
    return 0


def row(place: Path, workers: int, runs: int, epochs: int, sweeps: int) -> str:
    """One measurement as a line of the table."""
    folder = Path(tempfile.mkdtemp(prefix="rates-", dir=place))
    context = multiprocessing.get_context("spawn")
    stop, begin = context.Event(), context.Barrier(workers + sweeps + 1)
    answers = context.Queue()
    names = [f"{number:016x}" for number in range(runs)]
    doing = [context.Process(target=work, args=(folder, names, epochs, begin, answers)) for _ in range(workers)]
    looking = [context.Process(target=look, args=(folder, names, begin, stop, answers)) for _ in range(sweeps)]
    try:
        for process in (*doing, *looking):
            process.start()
        begin.wait()
        started = time.monotonic()
        found = [answers.get() for _ in doing]
        seconds = time.monotonic() - started
        stop.set()
        looks = [answers.get() for _ in looking]
        for process in (*doing, *looking):
            process.join()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done, lost, busy = (sum(numbers) for numbers in zip(*found, strict=True))
    assert done == runs, "every run is done once"
    rates = f"{done / seconds:.1f} | {runs * (epochs + 2) / seconds:.0f} | {1000 * busy / done:.2f}"
    return f"| {workers} | {sweeps} | {rates} | {lost} | {sum(looks) / seconds:.2f} |"


def work(folder: Path, names: list[str], epochs: int, begin: object, answers: object) -> None:
    """Do the runs that nobody else has done; answers with how many, how often others held the lease, CPU seconds."""
    store, done, lost = Store(folder / "records"), 0, 0
    begin.wait()  # type: ignore[attr-defined]
    started = time.process_time()
    for name in names:
        if store.attempts(name):
            continue
        lease = acquire(folder / "leases", name)
        if lease is None:
            lost += 1
            continue
        if not store.attempts(name):  # as a worker looks again once it holds the lease
            with RecordWriter(store.new_attempt(name) / TRAIN_FILE) as record:
                record.append("begin", schema=1, run_id=name, spec={"seed": 0}, provenance=PROVENANCE, epoch=0)
                for epoch in range(1, epochs + 1):
                    test = {"top1": 0.5, "nll": 1.0, "n": 1000}
                    record.append("epoch", epoch=epoch, train_loss=1.0, parts={}, seconds=1.0, test=test)
                record.append("end", status="ok", reason=None, seconds=1.0)
            done += 1
        lease.release()
    answers.put((done, lost, time.process_time() - started))  # type: ignore[attr-defined]


def look(folder: Path, names: list[str], begin: object, stop: object, answers: object) -> None:
    """See what each run's records and lease say until all is done; answers with how often all were seen."""
    begin.wait()  # type: ignore[attr-defined]
    seen = 0
    while not stop.is_set():  # type: ignore[attr-defined]
        store = Store(folder / "records")
        for name in names:
            store.attempts(name)
            holder(folder / "leases", name)
        seen += 1
    answers.put(seen)  # type: ignore[attr-defined]


if __name__ == "__main__":
    raise SystemExit(main())
