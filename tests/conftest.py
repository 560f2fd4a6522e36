"""One thread a test process: the suite runs in parallel processes, and threads that wait for each other cost more."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
