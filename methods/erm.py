"""Plain training."""

from __future__ import annotations

from methods.api import Method


class Erm(Method):
    """Plain training without any mixing (empirical risk minimisation); every other method is compared with it.

    Definition: the protocol's loss on cropped and flipped images, with their own labels.

    Defaults: none; everything comes from the protocol.
    """

    title = "ERM"
    paper = "Vapnik, The Nature of Statistical Learning Theory, Springer 1995"
    family = "none"
    venue = "Springer 1995"
    proved = "a loop over the batch with torch's own loss"
