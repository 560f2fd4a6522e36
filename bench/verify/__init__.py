"""Checks of records that somebody else made, before they enter a board. Imports no torch and executes nothing."""

from bench.verify.problem import Problem, Verdict
from bench.verify.records import verify_records

__all__ = ["Problem", "Verdict", "verify_records"]
