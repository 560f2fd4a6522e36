"""Distribution functions from scipy.special: importing scipy.stats would cost more than a table may take."""

from __future__ import annotations

import importlib
from typing import Any


def t_quantile(df: int, probability: float) -> float:
    """Quantile of Student's t with `df` degrees of freedom."""
    return float(_special().stdtrit(df, probability))


def t_tails(df: int, value: float) -> float:
    """P(|T| > |value|) for Student's t with `df` degrees of freedom."""
    return 2 * float(_special().stdtr(df, -abs(value)))


def t_tails_of(df: Any, values: Any) -> Any:
    """`t_tails` of arrays."""
    return 2 * _special().stdtr(df, -abs(values))


def noncentral_t_cdf(df: int, shift: float, value: float) -> float:
    """P(T <= value) for the noncentral t with `df` degrees of freedom and noncentrality `shift`."""
    return float(_special().nctdtr(df, shift, value))


def fair_coin_cdf(successes: int, tosses: int) -> float:
    """P(Binomial(tosses, 1/2) <= successes)."""
    return float(_special().bdtr(successes, tosses, 0.5))


def chi_square_tail(df: int, value: float) -> float:
    """P(X > value) for the chi-square distribution with `df` degrees of freedom."""
    return float(_special().chdtrc(df, value))


def f_tail(numerator_df: int, denominator_df: int, value: float) -> float:
    """P(X > value) for Fisher's F distribution."""
    return float(_special().fdtrc(numerator_df, denominator_df, value))


def _special() -> Any:
    return importlib.import_module("scipy.special")
