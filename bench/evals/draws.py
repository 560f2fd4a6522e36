"""Random numbers for a batch of images on any device, each image's fixed by its position in the split.

SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator: image i under key k owns the stream that starts at
mix(mix(k) xor mix(i)), and its n-th number is mix(start + n * golden). All of it is integer arithmetic on
tensors, so batch size, order and device change nothing; only the last bits of the normal numbers may differ by device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.ops.keys import Key

_GOLDEN = -0x61C8864680B583EB
_FIRST = -0x40A7B892E31B1A47
_SECOND = -0x6B2FB644ECCEEE15
"""SplitMix64's 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB as signed 64-bit integers."""
_LOW = 0xFFFFFFFF


class ImageDraws:
    """Draws of one corruption for one batch. `index` (B,): positions of the images in their split.

    Each `name` is a stream of its own, so a draw added later moves no other one. Asking twice gives the same numbers.
    """

    def __init__(self, key: Key, index: Tensor) -> None:
        self.key = key
        self.index = index.to(torch.int64)

    @property
    def size(self) -> int:
        """Number of images B."""
        return len(self.index)

    def words(self, name: str, *shape: int) -> Tensor:
        """Uniform integers in [0, 2**32), int64, (B, *shape)."""
        count = math.prod(shape)
        bits = self._bits(name, (count + 1) // 2)
        halves = torch.stack(((bits >> 32).bitwise_and_(_LOW), bits & _LOW), dim=2)
        return halves.flatten(1)[:, :count].reshape(self.size, *shape)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Uniform float32 in [0, 1), (B, *shape), in steps of 2**-24."""
        return (self.words(name, *shape) >> 8).float() * 2.0**-24

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        """Uniform integers in [0, high), int64, (B, *shape); bias below high / 2**32."""
        return (self.words(name, *shape) * high) >> 32

    def normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal float32 (B, *shape), by Box and Muller (1958)."""
        count = math.prod(shape)
        bits = self._bits(name, (count + 1) // 2)
        upper = (bits >> 32).bitwise_and_(_LOW).float()
        radius = upper.add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
        angle = bits.bitwise_and_(_LOW).float().mul_(2 * math.pi * 2.0**-32)
        pairs = torch.stack((angle.cos().mul_(radius), angle.sin_().mul_(radius)), dim=2)
        return pairs.flatten(1)[:, :count].reshape(self.size, *shape)

    def _bits(self, name: str, count: int) -> Tensor:
        device = self.index.device
        root = _mixed(torch.tensor(self.key.fold(name).integer(), device=device))
        start = _mixed(root ^ _mixed(self.index * _GOLDEN))
        return _mixed(start[:, None] + torch.arange(1, count + 1, device=device) * _GOLDEN)


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser. Writes into `bits`; a right shift fills with the sign, so it is masked."""
    bits ^= (bits >> 30).bitwise_and_(2**34 - 1)
    bits *= _FIRST
    bits ^= (bits >> 27).bitwise_and_(2**37 - 1)
    bits *= _SECOND
    bits ^= (bits >> 31).bitwise_and_(2**33 - 1)
    return bits
