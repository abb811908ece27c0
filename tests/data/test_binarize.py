from __future__ import annotations

from itertools import pairwise

import torch

from lehr.data import binarize
from lehr.data.order import Share, TrainingOrder


def share(start: int, stop: int, total: int, counter: int = 0) -> Share:
    return Share(torch.arange(start, stop), start, total, counter)


def test_threshold_turns_pixels_above_a_half_on_and_a_half_off() -> None:
    pixels = torch.tensor([0.0, 0.4999, 0.5, 0.5001, 1.0]).reshape(1, 1, 1, 5)
    wanted = torch.tensor([0.0, 0, 0, 1, 1]).reshape(1, 1, 1, 5)
    assert binarize.for_training(pixels, "threshold", 0, share(0, 1, 1)).equal(wanted)
    assert binarize.for_evaluation(pixels, "threshold", 0, "val", 0).equal(wanted)


def test_none_leaves_grey_levels_as_they_are() -> None:
    pixels = torch.rand(2, 1, 3, 3)
    assert binarize.for_training(pixels, "none", 0, share(0, 2, 2)).equal(pixels)
    assert binarize.for_evaluation(pixels, "none", 0, "val", 0).equal(pixels)


def test_dynamic_is_drawn_anew_at_every_presentation_with_the_grey_level_as_mean() -> None:
    grey = torch.linspace(0, 1, 12).reshape(1, 1, 3, 4).expand(5, 1, 3, 4)
    draws = torch.stack(
        [binarize.for_training(grey, "dynamic", 0, s) for e in range(400) for s in TrainingOrder(5, 5, 0).shares(e)]
    )
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert len({draw.numpy().tobytes() for draw in draws}) == 400
    mean = draws.mean((0, 1))
    assert mean.flatten()[0] == 0
    assert mean.flatten()[-1] == 1
    # 2,000 draws a pixel: the standard error is at most 0.0112.
    torch.testing.assert_close(mean, grey[0], atol=0.05, rtol=0)


def test_ranks_together_draw_what_one_process_draws() -> None:
    grey = torch.rand(9, 1, 4, 4)
    whole = binarize.for_training(grey, "dynamic", 2, share(0, 9, 9, counter=6))
    parts = [binarize.for_training(grey[a:b], "dynamic", 2, share(a, b, 9, counter=6)) for a, b in ((0, 4), (4, 9))]
    assert torch.cat(parts).equal(whole)


def test_evaluation_draws_depend_on_the_row_the_split_and_the_seed_alone() -> None:
    grey = torch.rand(600, 1, 3, 3)
    whole = binarize.for_evaluation(grey, "dynamic", 2, "val", 0)
    cuts = [0, 1, 200, 256, 257, 599, 600]
    parts = [binarize.for_evaluation(grey[a:b], "dynamic", 2, "val", a) for a, b in pairwise(cuts)]
    assert torch.cat(parts).equal(whole)
    assert not binarize.for_evaluation(grey, "dynamic", 2, "test", 0).equal(whole)
    assert not binarize.for_evaluation(grey, "dynamic", 3, "val", 0).equal(whole)
