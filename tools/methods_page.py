"""Write docs/methods.md, all methods side by side, from measured facts and committed records; --check compares.

python tools/methods_page.py [--check]
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from bench.config.catalogue import MethodFacts, method_facts, method_names
from bench.config.folders import shipped_configs

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "methods.md"
FACTS = shipped_configs() / "method-facts.json"
BOARDS = {
    name: ROOT / "results" / "reference" / name / "tables" / "leaderboard.csv"
    for name in ("all-methods", "all-methods-vit", "all-methods-map")
}
"""The first one that timed a method counts."""
NOT_MEASURED = "not measured"
HEAD = """# All methods side by side

Measured, not claimed. `share kept` is the mean weight of an image's own label in percent, with its standard error:
over draws alone where the share is a drawn number or the area of a drawn box, else over steps of 16 of scikit-learn's
digits. `label test` mixes black with white images and gives the largest distance between an image's mean brightness and
the weight of the white label: 0 where labels follow the pixels, more where the definition has it otherwise: labels by
attention or class activation maps, by a drawn lam that a learned mask follows roughly (AutoMix, SAMix), or noise on the
pixels (Noisy Feature Mixup). It is `-` where nothing is mixed in pixel space, and for RecursiveMix, which mixes with
images of earlier steps and has a test of its own for that. `passes` counts images through the network and its copies in
one step, as a multiple of the batch. `python tools/method_facts.py` measures these three.
`time / erm` is the step time as a ratio to plain training with its 95 % interval, from the records in
`results/reference/all-methods`, or in `results/reference/all-methods-vit` or `results/reference/all-methods-map` where
a network is named; ratios hold for that machine and network.

"""
PER_SAMPLE = """
## One lam a batch or one an image

With `lam_per: sample` lam, and the box or mask that hangs on it, is drawn for each image; the default is one for the
batch. These have it: {names}.

The others have one choice:

- AugMix, PixMix, IPMix and Cutout draw everything for each image, as their definitions say.
- GuidedMixup and AttentiveMix draw no lam: saliency maps or a fixed number of cells set the share of each image.
- MultiMix and Co-Mixup draw weights over the whole batch or a part of it.
- AutoMix and SAMix hold the mean of all masks of a batch to one lam, so theirs is the batch's by definition.
- PuzzleMix, SnapMix, TransMix, TokenMix and MixPro have one lam, mask or pair of boxes a batch, as their official code
  does. Nothing in their idea needs that; one an image is not offered.
"""


def page(facts: dict[str, Any], board: dict[str, dict[str, str]]) -> str:
    """The page as Markdown."""
    lines = [
        "| method | family | published | mixes | share kept % | label test | passes | time / erm [95 %] | proved by |",
        "|:--|:--|:--|:--|--:|--:|--:|--:|:--|",
    ]
    for name in method_names():
        one = method_facts(name)
        cells = [
            f"[{one.title}](methods/{name}.md)", one.family, one.venue or "-", one.mixes, *measured(facts.get(name)),
            ratio(board.get(name)), one.proved or "nothing yet",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return HEAD + "\n".join(lines) + "\n" + PER_SAMPLE.format(names=", ".join(with_lam_per_sample()))


def with_lam_per_sample() -> list[str]:
    """Titles of the methods that can draw one lam an image."""
    return [one.title for one in map(method_facts, method_names()) if "lam_per" in one.parameters.model_fields]


def measured(facts: dict[str, Any] | None) -> tuple[str, str, str]:
    """Share kept, label test and passes as text."""
    if facts is None:
        return NOT_MEASURED, NOT_MEASURED, NOT_MEASURED
    gap = facts["label_gap"]
    return share_text(facts), "-" if gap is None else f"{gap:.3f}", f"{facts['passes']:g}"


def share_text(facts: dict[str, Any]) -> str:
    """ "50.1 +- 0.2 (10,000 draws)", in percent; "-" for what does not mix."""
    share = facts["share_kept"]
    if share is None:
        return "-"
    return f"{100 * share['mean']:.1f} +- {100 * share['standard_error']:.1f} ({share['count']:,} {share['of']})"


def ratio(row: dict[str, str] | None) -> str:
    """The step time ratio with its interval."""
    if row is None or not row["ratio"]:
        return NOT_MEASURED
    interval = f" [{float(row['ratio_low']):.2f}, {float(row['ratio_high']):.2f}]" if row["ratio_low"] else ""
    net = f" ({row['net']})" if row.get("net") else ""
    return f"{float(row['ratio']):.2f}{interval}{net}"


def read_facts() -> dict[str, Any]:
    """The measured facts by implementation."""
    return json.loads(FACTS.read_text(encoding="utf-8")) if FACTS.is_file() else {}


def read_board() -> dict[str, dict[str, str]]:
    """The leaderboards' rows by method, each from the first board that timed it; none where there are no records yet.
    "net" tells a row that is not from the first board."""
    found: dict[str, dict[str, str]] = {}
    for number, board in enumerate(BOARDS.values()):
        if board.is_file():
            with board.open(encoding="utf-8", newline="") as file:
                rows = [{**row, "net": row["backbone"] if number else ""} for row in csv.DictReader(file)]
            found |= {row["method"]: row for row in rows if not found.get(row["method"], {}).get("ratio")}
    return found


def unmeasured(facts: dict[str, Any]) -> list[MethodFacts]:
    """Methods that nobody has measured."""
    return [method_facts(name) for name in method_names() if name not in facts]


def main(arguments: list[str]) -> int:
    """0 when the page is (or now is) current, 1 when --check finds it is not or a method is not measured."""
    facts = read_facts()
    made = page(facts, read_board())
    if "--check" in arguments:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
        if not current:
            print(f"{PAGE}: is not what the measured facts and the records give; run `make cards`", file=sys.stderr)
        for one in unmeasured(facts):
            print(f"{one.path}: not measured; run `python tools/method_facts.py {one.name}`", file=sys.stderr)
        return int(not current or bool(unmeasured(facts)))
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
