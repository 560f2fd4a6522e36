"""Evaluators: what is measured on a trained network. One file each; the file's stem is the evaluator's name."""
