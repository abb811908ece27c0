"""What a program hands to a finished run is an image, or a latent, of the kind it was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lehr
from lehr.errors import DataError
from lehr.run.sampling import held_out_images


def grey() -> torch.Tensor:
    return torch.full((3, 1, 8, 8), 0.5)


def holed(x: torch.Tensor, value: float) -> torch.Tensor:
    x[1].view(-1)[2] = value
    return x


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        ((grey() * 255).to(torch.uint8), "got torch.uint8, expected floating point: x / 255"),
        (grey().bool(), "got torch.bool"),
        (grey() * 255, "values from 127.5 to 127.5, expected .*x / 255"),
        (grey() * 2 - 1.5, r"values from -0.5 to -0.5, expected \[0, 1\]"),
        (grey() * 2.1, r"values from 1.05 to 1.05, expected \[0, 1\]$"),
        (holed(grey(), float("nan")), "NaN or infinity in 1 of 3, first in number 1"),
        (holed(grey(), float("inf")), "NaN or infinity in 1 of 3, first in number 1"),
        (grey().permute(0, 2, 3, 1), r"shape \(3, 8, 8, 1\), expected \(b, 1, 8, 8\)"),
        (grey()[0], r"shape \(1, 8, 8\), expected"),
        (grey().flatten(1), r"shape \(3, 64\), expected"),
        (grey().repeat(1, 3, 1, 1), r"shape \(3, 3, 8, 8\), expected"),
        (grey().numpy(), "got ndarray, expected a torch.Tensor"),
        (np.zeros(3).tolist(), "got list"),
    ],
)
def test_what_are_no_images_is_refused_in_a_line(finished_run, x, reason):
    with pytest.raises(DataError, match=f"^images: .*{reason}") as caught:
        lehr.load(finished_run).encode(x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("z", "reason"),
    [
        (torch.zeros(3, 20, dtype=torch.int64), "torch.int64"),
        (holed(torch.zeros(3, 20), float("nan")), "NaN or infinity in 1 of 3, first in number 1"),
        (torch.zeros(20), r"shape \(20,\), expected \(b, 20\)"),
        (torch.zeros(3, 20, 1, 1), r"shape \(3, 20, 1, 1\)"),
        (torch.zeros(20, 3), r"shape \(20, 3\)"),
    ],
)
def test_what_are_no_latents_is_refused_in_a_line(finished_run, z, reason):
    with pytest.raises(DataError, match=f"^latents: (got )?{reason}"):
        lehr.load(finished_run).decode(z)


def test_images_of_any_precision_and_none_are_encoded(finished_run):
    run = lehr.load(finished_run)
    wanted = run.encode(grey()).mean
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert torch.equal(run.encode(grey().to(dtype)).mean, wanted)
    assert run.encode(grey()[:0]).mean.shape == (0, 20)
    assert torch.isfinite(run.encode((grey() + 0.5) * (1 + 1e-6)).mean).all()
    assert torch.equal(run.decode(wanted.double()), run.decode(wanted))


def test_a_held_out_image_is_not_counted_from_the_end(finished_run):
    with pytest.raises(DataError, match="there is no test image -1"):
        held_out_images(lehr.load(finished_run), [-1])
