"""A Ray cluster that loses a node in the middle of a sweep: every run ends once, with the tables of a local sweep."""

from __future__ import annotations

import time

import pytest

from bench.records import Store, read_record
from bench.records.lease import holder

ray_cluster = pytest.importorskip("ray.cluster_utils", reason="the extra ray is not installed")

RUNS = (
    "run",
    "tiny",
    "--no-figures",
    "--set",
    "seeds=6",
    "--set",
    "protocol.epochs=4",
    "--set",
    "protocol.evaluate_every=4",
)
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}


def held(mixbench) -> set[str]:
    folder = mixbench.records.parent / "leases"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {name for name in names if holder(folder, name) is not None}


@pytest.mark.timeout(600)
def test_a_lost_node_costs_no_run(mixbench):
    suite = mixbench.folder / "configs" / "suite" / "tiny.yaml"
    suite.write_text(suite.read_text() + "speed: none\n")
    cluster = ray_cluster.Cluster(initialize_head=True, head_node_args=NODE)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        address = f"address={cluster.address}"
        process = mixbench.start(*RUNS, "--executor", "ray", "--executor-set", address)
        end = time.monotonic() + 300
        while len(held(mixbench)) < 2 or len(mixbench.ended()) < 2:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end, "never two runs at a time on two nodes"
            time.sleep(0.02)
        cluster.remove_node(second, allow_graceful=False)
        _, errors = process.communicate(timeout=400)
    finally:
        cluster.shutdown()
    assert process.returncode == 0, errors
    store = Store(mixbench.records)
    found = store.runs()
    assert len(found) == 12
    for record in found:
        endings = [attempt.status for attempt in store.attempts(record.run_id)]
        assert endings.count("ok") == 1
        assert [line["kind"] for line in read_record(record.folder / "train.jsonl").lines].count("end") == 1
    assert held(mixbench) == set()
    local = mixbench(*RUNS, "--results", "alone")
    assert local.returncode == 0, local.stderr
    there, here = mixbench.records.parent / "tables" / "tiny", mixbench.folder / "alone" / "tables" / "tiny"
    assert (there / "accuracy.csv").read_bytes() == (here / "accuracy.csv").read_bytes()
