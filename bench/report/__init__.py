"""Tables and figures from records. Imports neither torch nor, until a figure is drawn, matplotlib."""

from bench.report.build import Tables, build_tables
from bench.report.terminal import print_tables
from bench.report.write import write_tables

__all__ = ["Tables", "build_tables", "print_tables", "write_tables"]
