from __future__ import annotations

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.plugins.precision import HalfPrecision

from lehr.data import Batch


def test_half_precision_does_not_round_the_pixels() -> None:
    batch = Batch(torch.rand(4, 1, 2, 2), start=0, total=4)
    assert HalfPrecision("bf16-true").convert_input(batch).images.dtype == torch.float32


def test_lightning_moves_a_batch_and_its_place_is_kept() -> None:
    batch = Batch(torch.rand(4, 1, 2, 2), start=8, total=30)
    assert move_data_to_device(batch, torch.device("cpu")) is batch
    moved = move_data_to_device(batch, torch.device("meta"))
    assert (moved.images.device.type, moved.start, moved.total, len(moved)) == ("meta", 8, 30, 4)
