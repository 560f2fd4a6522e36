"""Attacks on images in pixel space: balls, losses, step rules. No evaluator here."""
