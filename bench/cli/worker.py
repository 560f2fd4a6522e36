"""`mixbench worker`: started by a sweep, not by people."""

from __future__ import annotations

import argparse


def run(options: argparse.Namespace) -> int:
    """Serve tasks until stdin closes."""
    from bench.run.worker import serve

    return serve()
