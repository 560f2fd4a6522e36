"""Trainings on real digits that two processes share: python tests/unit/shared_training.py CASES RANK STORE OUT [DEVICE].

CASES is JSON: a list of [name, implementation, parameters, backbone, protocol changes]. Each process writes what it
found to OUT.RANK, a file of torch.save. In a case called "unsynchronised" the gradients of the method's own weights
stay with their process: a fault that the comparison must show. Gloo can share one GPU, which NCCL cannot.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bench.data.open import Splits, open_data
from bench.data.resident import ResidentEval
from bench.evals.api import Context
from bench.run.build import build_method
from bench.run.shared import shared_predictions
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.train.accuracy import measure_accuracy
from bench.train.exchange import shared_step
from bench.train.ranks import Ranks
from bench.train.training import Training

CPU = torch.device("cpu")
DATA = DataSpec(source="digits", resolution=64, channels=1, mean=(0.3,), std=(0.38,), train_per_class=1, digest=None)
PROTOCOL = {"epochs": 1, "batch_size": 5, "learning_rate": 0.01, "optimizer": "sgd", "world_size": 2}
"""Ten images and two steps an epoch; of each step one rank has two images and the other three."""
Case = tuple[str, str, dict[str, Any], str, dict[str, Any]]


def spec_of(implementation: str, parameters: dict[str, Any], backbone: str, protocol: dict[str, Any]) -> Spec:
    return Spec(
        data=DATA,
        backbone=BackboneSpec(name=backbone, dropout=0.1 if "resnet" in backbone else 0.0),
        protocol=ProtocolSpec(**{**PROTOCOL, **protocol}),
        method=MethodSpec(implementation=implementation, parameters=parameters),
        seed=3,
        labels=Labels(data="d", backbone=backbone, protocol="p", method=implementation),
    )


def make(case: Case, splits: Splits, ranks: Ranks | None = None, device: torch.device = CPU) -> Training:
    spec = spec_of(*case[1:])
    return Training(spec, build_method(spec.method), splits, device, ranks=ranks)


def outcome(training: Training) -> dict[str, Any]:
    """Losses of all epochs and the state at the end. Buffers that are a rank's own are not in `weights`."""
    losses = [training.run_epoch() for _ in range(training.protocol.epochs)]
    own = training.rank_state.own()
    history = {f"method.{name}" for tensors in own.values() for name in tensors}
    state = training.step_module.state_dict()
    average = training.average.state_dict() if training.average is not None else {}
    return {
        "losses": [result.loss for result in losses],
        "parts": [result.parts for result in losses],
        "weights": {name: tensor for name, tensor in (*state.items(), *average.items()) if name not in history},
        "own": own,
    }


def evaluated(training: Training, splits: Splits, ranks: Ranks) -> dict[str, Any]:
    """Accuracy and predictions on 1100 test images: batches of 500, 500, 100 and 512, 512, 76."""
    whole: Any = splits.evaluation["test"]
    feed = ResidentEval(whole.images[:1100], whole.labels[:1100], DATA.resolution)
    context = Context(training.backbone, training.normalise, {"test": feed}, 10, CPU, 0)
    predicted = shared_predictions(context, ranks)
    accuracy = measure_accuracy(training.backbone, training.normalise, feed, ranks)
    return {"accuracy": dict(accuracy), "logits": predicted.logits, "labels": predicted.labels}


def main(cases: list[Case], rank: int, store: str, out: str, device_name: str = "cpu") -> None:
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(device_name)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    splits, ranks = open_data(DATA, device), Ranks(2, rank, 2)
    found: dict[str, Any] = {}
    for case in cases:
        training = make(case, splits, ranks, device)
        if case[0] == "unsynchronised":
            names = [name for name, _ in training.step_module.named_parameters() if name.startswith("method.")]
            ddp: Any = torch.nn.parallel.DistributedDataParallel
            ddp._set_params_and_buffers_to_ignore_for_model(training.step_module, names)
            training.compiled = shared_step(training.step_module)
        found[case[0]] = outcome(training)
    if device == CPU:
        fresh = make(("fresh", "erm", {}, "test_resnet", {}), splits, ranks)
        found["evaluated"] = evaluated(fresh, splits, ranks)
    torch.save(found, f"{out}.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), *sys.argv[3:])
