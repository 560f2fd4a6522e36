"""Records of every robustness evaluator, made from one number a run; the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records import evaluation_file
from bench.records.line import encode
from bench.spec import Spec
from tests.golden.tables.example_records import make_spec, write_clean, write_run

Line = tuple[str, float | None, dict[str, Any]]

STANDARD = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
SOURCE = "regenerated, seed 0"
LINF, L2 = (0.5, 1.0, 2.0, 4.0, 8.0), (0.1, 0.25, 0.5)
STRENGTH = {"erm": 0.0, "mixup": 0.03, "cutmix": -0.06, "augmix": 0.12}
"""How far a method's corrupted accuracy lies above plain training."""


def accuracy_of(top1: float, corruption: str, severity: int, shift: float = 0.0) -> float:
    """Accuracy under a corruption: a little different for each, lower with severity, far higher for the extra ones."""
    if corruption in EXTRA:
        return min(1.0, top1 + 0.05 + 0.001 * severity)
    place = STANDARD.index(corruption)
    return max(0.0, top1 - 0.03 * severity - 0.013 * place + shift * (3 if place < 3 else 1) / 3)


def corruption_lines(
    top1: float, shift: float = 0.0, severities: Sequence[int] = (1, 2, 3, 4, 5), source: str = SOURCE
) -> list[Line]:
    """What the corruptions evaluator records."""
    return [
        (
            "corruption_top1" if name in STANDARD else "extra_corruption_top1",
            accuracy_of(top1, name, severity, shift),
            {"corruption": name, "severity": severity, "source": source},
        )
        for name in (*STANDARD, *EXTRA)
        for severity in severities
    ]


def adversarial_lines(top1: float, legacy: float = 0.0) -> list[Line]:
    """What the adversarial evaluator records. legacy: how much FGSM and PGD flatter the method."""
    lines: list[Line] = [("attack_clean_top1", top1, {})]
    for norm, sizes, reach in (("linf", LINF, 4.0), ("l2", L2, 0.4)):
        for size in sizes:
            worst = max(0.0, top1 - size / reach)
            values = {"apgd": worst, "apgd_ce": worst + (0.01 if size == sizes[1] else 0.002)}
            if norm == "linf":
                values |= {"pgd20": worst + 0.02 + legacy / 2, "fgsm": worst + 0.05 + legacy}
            lines += [
                ("attack_top1", min(1.0, value), {"attack": name, "norm": norm, "eps": size})
                for name, value in values.items()
            ]
            lines.append(("random_noise_top1", top1 - 0.001 * size, {"norm": norm, "eps": size}))
        for check, passed in (("monotone", 1.0), ("pgd_below_fgsm", 1.0 - (legacy > 0.1)), ("transfer_from_erm", None)):
            lines.append(("masking_check", passed, {"check": check, "norm": norm}))
        lines.append(("masking_value", 0.0123, {"quantity": "zero_gradient", "norm": norm}))
    return lines


def calibration_lines(top1: float, scaled: bool = True) -> list[Line]:
    """What the calibration evaluator records; without a validation split the scaled numbers are None."""
    lines: list[Line] = []
    for after in (False, True):
        known = scaled or not after
        for name, value in (
            ("ece_15", 0.12 - 0.1 * after), ("adaptive_ece_15", 0.13 - 0.1 * after), ("confidence_gap", -0.1),
            ("nll", 1 - top1), ("brier", 0.4), ("ece_15_floor", 0.01),
        ):  # fmt: skip
            lines.append((name, value if known else None, {"scaled": after}))
        for place in range(15):
            empty, centre = place < 3, (place + 0.5) / 15
            detail = {"bin": place, "scaled": after}
            lines.append(("reliability_share", (0.0 if empty else 1 / 12) if known else None, detail))
            hit = min(1.0, centre + (0.08 if not after else 0.01) + 0.1 * (top1 - 0.8))
            lines.append(("reliability_accuracy", None if empty or not known else hit, detail))
            lines.append(("reliability_confidence", None if empty or not known else centre, detail))
    once = {"temperature": 0.7 if scaled else None, "aurc": 0.05, "risk_at_80_coverage": 0.1, "coverage_at_5_risk": 0.6}
    lines += [(name, value, {}) for name, value in once.items()]
    return lines + [
        ("risk_at_coverage", (1 - top1) * step / 10, {"coverage": round(step / 10, 1)}) for step in range(1, 11)
    ]


def ood_lines(top1: float) -> list[Line]:
    """What the OOD evaluator records."""
    sets = {"near": ("held_out",), "far": ("gaussian_noise", "textures")}
    lines: list[Line] = []
    for place, score in enumerate(("msp", "energy", "max_logit")):
        for kind, names in sets.items():
            found = [top1 - 0.05 * place + 0.02 * number for number, _ in enumerate(names)]
            for name, value in zip(names, found, strict=True):
                detail = {"score": score, "set": name, "kind": kind}
                lines += [
                    (f"ood_{measure}", value * factor, detail)
                    for measure, factor in (("auroc", 1.0), ("aupr_in", 0.9), ("aupr_out", 0.8), ("fpr95", 0.7))
                ]
            lines.append(("ood_auroc_mean", sum(found) / len(found), {"score": score, "kind": kind}))
    return lines


def shift_lines(top1: float) -> dict[str, list[Line]]:
    """What the occlusion, translation and shifted evaluators record, by arm."""
    shares, shifts = [step / 10 for step in range(1, 10)], (1, 2, 4)
    return {
        "occlusion": [
            *(("occlusion_top1", top1 * (1 - share), {"share": share}) for share in shares),
            ("occlusion_top1_mean", top1 * 0.5, {}),
        ],
        "translation": [
            *(("translation_top1", top1 - 0.01 * shift, {"shift": shift}) for shift in shifts),
            *(("translation_consistency", 1 - 0.02 * shift, {"shift": shift}) for shift in shifts),
        ],
        "imagenet-r": [
            ("shifted_top1", top1 / 2, {"set": "imagenet-r", "source": "files", "masked": True}),
            ("shifted_images", 30000, {"set": "imagenet-r"}),
        ],
    }


def feature_lines(top1: float, aligned: bool) -> dict[str, list[Line]]:
    """What the features, alignment, intrusion and localisation evaluators record, by arm."""
    return {
        "features": [
            ("feature_distance_intra", 0.4, {}), ("feature_distance_inter", 0.8, {}),
            ("feature_distance_ratio", 0.5, {}),
        ],
        "alignment": [
            ("alignment_effect", 0.02 if aligned else None, {"direction": direction})
            for direction in ("to_first", "to_second")
        ],
        "intrusion": [("manifold_intrusion", 0.2, {}), ("manifold_intrusion_clean", 0.1, {}), ("mixed_share", 1.0, {})],
        "localisation": [
            *(("localisation_accuracy", top1 - iou, {"iou": iou}) for iou in (0.3, 0.5, 0.7)),
            ("localisation_mean", top1 - 0.5, {}),
        ],
    }  # fmt: skip


def write_arm(
    folder: Path, arm: str, lines: Sequence[Line], *, digest: str = "d1", title: str | None = None,
    settings: Mapping[str, Any] | None = None, source: str = "s1",
) -> None:  # fmt: skip
    """An evaluator's record, written at once: the writer's wait for the disk after each line would take minutes."""
    begin = {"eval": arm, "title": title or f"Title of {arm}", "digest": digest, "settings": dict(settings or {})}
    begin["source_digest"] = source
    encoded = [encode("begin", begin)]
    encoded += [encode("metric", {"name": name, "value": value, "detail": detail}) for name, value, detail in lines]
    evaluation_file(folder, arm, "1").write_bytes(b"".join([*encoded, encode("end", {"status": "ok"})]))


def write_everything(folder: Path, method: str, top1: float) -> None:
    """Every evaluator of the robustness suite for one run."""
    shift = STRENGTH.get(method, 0.01)
    arms = {
        "corruptions": corruption_lines(top1, shift),
        "adversarial": adversarial_lines(top1, 0.12 if method == "mixup" else 0.0),
        "autoattack": [
            ("attack_clean_top1", top1, {}),
            ("attack_top1", max(0.0, top1 - 0.26), {"attack": "autoattack", "norm": "linf", "eps": 1.0}),
        ],
        "minimal-perturbation": [
            ("perturbation_median", 1.5, {"norm": "linf"}), ("perturbation_found", 1.0, {"norm": "linf"})
        ],
        "calibration": calibration_lines(top1),
        "ood": ood_lines(top1),
        **shift_lines(top1),
        **feature_lines(top1, method == "alignmix"),
    }  # fmt: skip
    for arm, lines in arms.items():
        write_arm(folder, arm, lines, settings={"steps": 100, "batch_size": 50} if arm == "adversarial" else None)


def write_robust_study(root: Path, methods: Mapping[str, Sequence[float]], **spec: Any) -> list[Spec]:
    """A complete study with every evaluation; the plan."""
    plan: list[Spec] = []
    for method, values in methods.items():
        for seed, top1 in enumerate(values):
            made = make_spec(method, seed, **spec)
            folder = write_run(root, made, top1, planned=range(len(values)))
            write_clean(folder, top1)
            write_everything(folder, method, top1)
            plan.append(made)
    return plan
