"""Randomness is a function: the same arguments, the same numbers; other arguments, other numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lehr.randomness import generator, normal, permutation, rows, uniform

DRAWS = [
    lambda seed, stream, counter: normal(seed, stream, counter, (7, 3)),
    lambda seed, stream, counter: uniform(seed, stream, counter, (7, 3)),
    lambda seed, stream, counter: permutation(seed, stream, counter, 30),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_is_a_function_of_seed_stream_and_counter(draw):
    first = draw(1, "noise", 5)
    torch.manual_seed(99)
    draw(2, "noise", 5)  # other draws in between do not matter
    assert torch.equal(draw(1, "noise", 5), first)
    for other in [draw(2, "noise", 5), draw(1, "noise2", 5), draw(1, "noise", 6), draw(1, "noise", 0)]:
        assert not torch.equal(other, first)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_leaves_the_global_generator_alone(draw):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    draw(0, "noise", 0)
    assert torch.equal(torch.rand(3), expected)


def test_the_numbers_of_a_draw_never_change_between_versions():
    # else a run that is resumed or repeated would no longer be the same run
    assert generator(0, "noise", 1).initial_seed() == 155522466665723740
    expected = torch.tensor([0.6561499238014221, 0.25537002086639404, 0.6072601079940796])
    torch.testing.assert_close(uniform(0, "noise", 1, (3,)), expected, rtol=0, atol=1e-7)


def test_a_hundred_thousand_counters_have_distinct_low_32_bits_of_their_seeds():
    # torch's CPU generator looks at nothing else
    seeds = {generator(0, "noise", counter).initial_seed() & 0xFFFFFFFF for counter in range(100_000)}
    assert len(seeds) == 100_000


def test_neighbouring_counters_seeds_and_streams_are_uncorrelated():
    n = 20_000
    draws = [normal(s, stream, c, (n,)) for s in (0, 1) for stream in ("a", "b") for c in (0, 1, 2)]
    correlation = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert correlation.abs().max() < 5 / n**0.5


def test_first_numbers_of_successive_counters_look_independent():
    first = torch.stack([normal(3, "noise", counter, (2,)) for counter in range(4000)])
    assert stats.kstest(first[:, 0].numpy(), "norm").pvalue > 1e-3
    assert abs(torch.corrcoef(torch.stack([first[:-1, 0], first[1:, 0]]))[0, 1]) < 5 / 4000**0.5


def test_normal_and_uniform_have_their_distributions():
    assert stats.kstest(normal(0, "x", 0, (20_000,)).numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(uniform(0, "x", 0, (20_000,)).numpy(), "uniform").pvalue > 1e-3
    assert uniform(0, "x", 0, (20_000,)).min() >= 0
    assert uniform(0, "x", 0, (20_000,)).max() < 1
    assert normal(0, "x", 0, (2,)).dtype == uniform(0, "x", 0, (2,)).dtype == torch.float32


def test_a_permutation_holds_each_index_once():
    order = permutation(0, "order", 1, 1000)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange(1000))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    kind=st.sampled_from(["normal", "uniform"]),
    start=st.integers(0, 700),
    cuts=st.lists(st.integers(0, 900), min_size=1, max_size=8),
    shape=st.sampled_from([(), (1,), (3,), (2, 2, 2)]),
)
def test_what_a_row_gets_does_not_depend_on_how_rows_are_cut(kind, start, cuts, shape):
    edges = sorted({start, *(start + cut for cut in cuts)})
    whole = rows(kind, 4, "eval", 0, edges[-1] + 1, shape)
    pieces = [rows(kind, 4, "eval", a, b, shape) for a, b in pairwise(edges)]
    pieces.append(rows(kind, 4, "eval", edges[-1], edges[-1] + 1, shape))
    assert torch.equal(torch.cat(pieces), whole[start:])


@pytest.mark.parametrize("start", [0, 5, 255, 256, 512])
def test_no_rows_are_an_empty_tensor(start):
    assert rows("normal", 0, "eval", start, start, (3,)).shape == (0, 3)


def test_small_batches_do_not_draw_a_block_each(monkeypatch):
    drawn = []

    def counted(seed, stream, counter, shape, device="cpu"):
        drawn.append((stream, counter))
        return normal(seed, stream, counter, shape, device)

    monkeypatch.setattr("lehr.randomness.normal", counted)
    for start in range(0, 512, 8):  # two streams in turn, as the pixels and the latents of a batch are
        for stream in ("small batches of pixels", "small batches of latents"):
            rows("normal", 0, stream, start, start + 8, (3, 5))
    assert len(drawn) == len(set(drawn)) == 4


def test_rows_too_large_for_256_of_them_at_once_come_in_smaller_blocks(monkeypatch):
    monkeypatch.setattr("lehr.randomness._MOST_PER_BLOCK", 256)
    whole = rows("uniform", 0, "large rows", 0, 100, (5, 7))  # 4 rows a block, the power of two below 256 / 35
    assert torch.equal(whole[4:8], uniform(0, "large rows", 1, (4, 5, 7)))
    pieces = [rows("uniform", 0, "large rows", start, start + 3, (5, 7)) for start in range(0, 99, 3)]
    assert torch.equal(torch.cat(pieces), whole[:99])
    assert rows("uniform", 0, "larger rows", 0, 3, (300,)).shape == (3, 300)  # one row a block


def test_rows_of_up_to_65536_numbers_are_those_that_they_always_were():
    assert torch.equal(rows("normal", 3, "as before", 250, 260, (4,))[:6], normal(3, "as before", 0, (256, 4))[250:])
    assert torch.equal(rows("normal", 3, "as before", 1, 2, (65536,)), normal(3, "as before", 0, (256, 65536))[1:2])


def test_a_block_drawn_in_inference_mode_can_be_trained_with():
    with torch.inference_mode():
        rows("normal", 0, "kept block", 0, 2, (3,))
    weight = torch.ones(3, requires_grad=True)
    noise = rows("normal", 0, "kept block", 0, 2, (3,))
    (noise * weight).sum().backward()
    torch.testing.assert_close(weight.grad, noise.sum(0))


def test_rows_are_distinct_and_of_their_kind():
    noise = rows("normal", 0, "eval", 0, 3000, (4,))
    assert len({tuple(row) for row in noise.tolist()}) == 3000
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(rows("uniform", 0, "eval", 0, 3000, (4,)).flatten().numpy(), "uniform").pvalue > 1e-3
