"""Randomness as a function, not a state.

Every random number of a run is a function of (seed, stream, counter): the seed of the run, the name of what is
drawn, and where in training or in a data set it is drawn. Nothing has to be saved to resume, ranks never share
noise, and drawing the same thing twice gives the same numbers (on the same kind of device).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import torch
from torch import Tensor

_ROWS_PER_BLOCK = 256
_MOST_PER_BLOCK = 2**24  # numbers, 64 MiB: of rows that hold more than 65,536 there are fewer in a block
_KEPT_BLOCKS = 2  # a pass over a data set asks for two streams in turn at most: pixels and latents
_MASK32 = 0xFFFFFFFF
_GOLDEN = 0x9E3779B1  # odd, so multiplication by it is a bijection modulo 2^32


def generator(seed: int, stream: str, counter: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one draw: a function of `seed`, the name of the `stream` and `counter` (0 <= counter < 2^32).

    torch's CPU generator keeps only the low 32 bits of a seed; they are a bijection of `counter`, so that two
    counters of one stream never share their numbers.
    """
    high, low = _of_stream(seed, stream)
    low = (low + counter * _GOLDEN) & _MASK32
    result = torch.Generator(device=device)
    result.manual_seed(((high >> 1) << 32) | low)
    return result


@lru_cache(maxsize=1024)  # a training asks for the same few at every step
def _of_stream(seed: int, stream: str) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def normal(seed: int, stream: str, counter: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal noise in float32, a function of (seed, stream, counter, shape)."""
    # the type is said, as the default one follows the precision of the training
    return torch.randn(shape, generator=generator(seed, stream, counter, device), dtype=torch.float32, device=device)


def uniform(seed: int, stream: str, counter: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Uniform noise on [0, 1) in float32, a function of (seed, stream, counter, shape)."""
    return torch.rand(shape, generator=generator(seed, stream, counter, device), dtype=torch.float32, device=device)


def permutation(seed: int, stream: str, counter: int, n: int) -> Tensor:
    """A random order of 0..n-1 (int64, on the CPU), a function of (seed, stream, counter)."""
    return torch.randperm(n, generator=generator(seed, stream, counter))


def rows(
    kind: str,
    seed: int,
    stream: str,
    start: int,
    stop: int,
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Noise for the rows `start <= i < stop` of a data set, shape (stop - start, *shape).

    What row i gets depends on i alone, never on how the rows are cut into batches or shared between ranks: the
    noise is drawn in fixed blocks of rows. The blocks drawn last are kept, at most 128 MiB, as the next batch is
    likely to be in the same. What is returned may be part of one: it is not to be changed in place. `kind` is
    "normal" or "uniform".
    """
    size = _rows_per_block(math.prod(shape))
    first, last = start // size, (max(stop, start + 1) - 1) // size
    pieces = []
    for number in range(first, last + 1):
        block = _block(kind, seed, stream, number, (size, *shape), torch.device(device))
        pieces.append(block[max(0, start - number * size) : stop - number * size])
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _rows_per_block(numbers: int) -> int:
    """Of rows that hold so many numbers each: a power of two, so that batches and blocks tend to end together."""
    fitting = max(1, _MOST_PER_BLOCK // max(1, numbers))
    return min(_ROWS_PER_BLOCK, 2 ** (fitting.bit_length() - 1))


@lru_cache(maxsize=_KEPT_BLOCKS)
def _block(kind: str, seed: int, stream: str, number: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    draw = {"normal": normal, "uniform": uniform}[kind]
    with torch.inference_mode(False):  # a block that is kept may be asked for again where gradients are taken
        return draw(seed, stream, number, shape, device)


def seed_layers(seed: int, counter: int, rank: int, device: torch.device) -> None:
    """Let torch's own generators, which layers such as dropout draw from, be a function of these.

    What they were before is lost: see `kept_state`.
    """
    value = generator(seed, f"layers/{rank}", counter).initial_seed()
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)


def kept_state() -> AbstractContextManager[None]:
    """After the block torch's own CPU generator, of which the program may have seeds of its own, is as it was."""
    return torch.random.fork_rng(devices=[])


@contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Within the block torch's own CPU generator, which layers draw their first weights from, is that of `stream`."""
    with kept_state():
        torch.default_generator.manual_seed(generator(seed, stream).initial_seed())
        yield
