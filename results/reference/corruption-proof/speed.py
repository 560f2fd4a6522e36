"""CPU seconds an image, batched corruptions against imagecorruptions-imaug one by one, in turns on the same core.

Needs imagecorruptions-imaug 1.1.5 beside the project's environment:
OMP_NUM_THREADS=1 python results/reference/corruption-proof/speed.py --data FOLDER [--rounds 5]
FOLDER holds <class>/*.jpg of 32 px. Rates are over severities 1 to 5, from the median time of each over the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.evals.corruption_ops.library import corrupt
from bench.evals.corruption_ops.severities import EXTRA, STANDARD

BATCH, ONE_BY_ONE = 512, 24


def seconds(work: Callable[[], object]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Time, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cv2
        from imagecorruptions import corrupt as other
    cv2.setNumThreads(1)
    files = sorted(options.data.glob("*/*.jpg"))
    files = files[:: len(files) // BATCH][:BATCH]
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
    batch, index = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.arange(BATCH)
    ratios, total = [], 0.0
    for corruption in (*STANDARD, *EXTRA):
        theirs, ours = np.empty((2, options.rounds, 5))
        other(images[0], 3, corruption)
        for step in range(options.rounds):
            chosen = images[np.arange(ONE_BY_ONE) + step * ONE_BY_ONE]
            for severity in range(1, 6):
                corrupt(batch[:64], index[:64], corruption, severity, step)
                ours[step, severity - 1] = seconds(lambda: corrupt(batch, index, corruption, severity, step)) / BATCH  # noqa: B023
                one = seconds(lambda: [other(image, severity, corruption) for image in chosen])  # noqa: B023
                theirs[step, severity - 1] = one / ONE_BY_ONE
        slow, fast = np.median(theirs, axis=0), np.median(ours, axis=0)
        ratios.append(slow.mean() / fast.mean())
        total += fast.sum()
        print(
            f"{corruption:18s} {1 / slow.mean():8.0f} {1 / fast.mean():8.0f} images/s, {ratios[-1]:6.1f} times; "
            f"by severity {' '.join(f'{ratio:.1f}' for ratio in slow / fast)}",
            flush=True,
        )
    print(f"\ngeometric mean {np.exp(np.log(ratios).mean()):.2f} times; 19 x 5 on 10,000 images {total * 10_000:.0f} s")


if __name__ == "__main__":
    main()
