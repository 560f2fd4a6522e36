"""Running mixbench as a person would: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
title: tiny
data: digits
backbone: test_resnet
protocol: tiny
methods: [erm, mixup]
seeds: 2
evals: [clean]
set:
  data.train_per_class: 3
"""
PROTOCOL = """
epochs: 2
batch_size: 10
optimizer: adamw
learning_rate: 1e-3
evaluate_every: 2
"""


class Mixbench:
    """Calls `mixbench` in `folder`, which has configs of its own beside those that come with the package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "results" / "local" / "records"
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.write("suite/tiny.yaml", SUITE)
        self.write("protocol/tiny.yaml", PROTOCOL)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "bench.cli", *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=280
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # tests that run in a shell's background inherit an ignored Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def ended(self) -> dict[str, str]:
        """Run id to bytes of every finished run's record."""
        files = self.records.glob("*/*/train.jsonl")
        return {str(file): file.read_text() for file in files if '"kind":"end"' in file.read_text()}


@pytest.fixture
def mixbench(tmp_path: Path) -> Mixbench:
    return Mixbench(tmp_path)


@pytest.fixture(scope="module")
def make_mixbench(tmp_path_factory: pytest.TempPathFactory):
    """Makes one for a whole test file."""
    return lambda: Mixbench(tmp_path_factory.mktemp("mixbench"))
