"""Images on the device, and numbers on their way back from it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from harness import Tiny

from lehr.data.images import ArrayImages
from lehr.errors import NonFiniteLoss
from lehr.training.finite import FiniteLoss


def fetch(images: ArrayImages, rows: list[int], device: str) -> torch.Tensor:
    return next(images.fetch([torch.tensor(rows)], epoch=0, device=device))


@pytest.mark.gpu
def test_all_splits_share_one_copy_on_the_gpu():
    array = torch.randint(0, 256, (1000, 1, 64, 64), dtype=torch.uint8)
    images = ArrayImages(array)
    before = torch.cuda.memory_allocated()
    for part in (images, images.subset(torch.arange(500)), images.subset(torch.arange(500, 1000))):
        for device in ("cuda", "cuda:0"):
            assert fetch(part, [0], device).device.type == "cuda"
    assert torch.cuda.memory_allocated() - before < 1.5 * array.numel()
    assert fetch(images, [7], "cuda").cpu().equal(fetch(images, [7], "cpu"))


@pytest.mark.parametrize("binarize", ["none", "threshold"])
def test_batches_on_the_device_are_those_of_the_cpu_to_the_bit(device, binarize):
    data = Tiny(binarize=binarize)
    data.setup()
    there = list(data.evaluation_loader("train", device))
    here = list(data.evaluation_loader("train", "cpu"))
    assert {batch.images.device.type for batch in there} == {device}
    assert [batch.start for batch in there] == [batch.start for batch in here]
    assert torch.equal(torch.cat([b.images.cpu() for b in there]), torch.cat([b.images for b in here]))


def test_pixels_drawn_on_the_device_are_those_of_its_noise_and_the_same_again(device):
    def drawn(size):
        data = Tiny(binarize="dynamic", eval_batch_size=size)
        data.setup()
        return torch.cat([batch.images for batch in data.evaluation_loader("train", device)])

    first = drawn(50)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(first, drawn(7))


def test_a_loss_that_is_not_a_number_is_told_with_its_step(device):
    """On a GPU by the copy that is looked at one step later, so that the host never waits for the device."""
    finite, names = FiniteLoss(), ("distortion", "rate")
    good, bad = (torch.tensor([1.0, rate], device=device) for rate in (2.0, math.nan))
    finite.check(names, good, 0, 1.0)
    check = partial(finite.check, names)
    if device == "cuda":
        check(bad, 1, 1.0)
    with pytest.raises(NonFiniteLoss, match=r"^step 1 \(KL weight 1\): the rate is nan"):
        check(*((good, 2) if device == "cuda" else (bad, 1)), 1.0)
    check(good, 3, 1.0)
    finite.flush()
    if device == "cuda":
        check(bad, 4, 1.0)
    with pytest.raises(NonFiniteLoss, match=r"^step 4"):
        finite.flush() if device == "cuda" else check(bad, 4, 1.0)  # a training ends with it


@pytest.mark.gpu
def test_numbers_come_back_into_pinned_memory_and_are_not_waited_for():
    finite = FiniteLoss()
    torch.cuda._sleep(int(2e9))  # about a second of the device's time
    finite.check(("rate",), torch.ones(1, device="cuda"), 0, None)
    assert finite._pending.values.is_pinned()
    assert not finite._pending.arrived.query()
    finite.flush()
