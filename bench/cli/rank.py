"""`mixbench rank`: started by a worker through torch's launcher, not by people."""

from __future__ import annotations

import argparse


def run(options: argparse.Namespace) -> int:
    """Train one run together with other processes."""
    from bench.run.rank import serve_rank

    return serve_rank(options.folder)
