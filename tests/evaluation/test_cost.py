"""What encoding and decoding cost, of networks whose memory can be counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lehr.evaluation.cost import TensorMemory, costs, parameters
from lehr.models.autoencoder import Autoencoder
from lehr.posterior.point import Point

CPU = torch.device("cpu")


class Halving(Autoencoder):
    """A convolution each way; any size that 2 divides."""

    any_size = True

    def __init__(self, channels=1, any_size=True):
        super().__init__((channels, 8, 8), (2, 4, 4))
        self.any_size = any_size
        self.encoder = nn.Conv2d(channels, 2, 2, 2, bias=False)
        self.decoder = nn.ConvTranspose2d(2, channels, 2, 2, bias=False)
        self.post_quant_conv = nn.Conv2d(2, 2, 1)

    def encode(self, x):
        return Point(self.encoder(x.to(self.dtype)).float())

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z.to(self.dtype)))


def test_memory_is_what_lives_at_once_and_not_what_was_there_or_is_gone():
    x = torch.zeros(1024)
    with TensorMemory() as watched:
        for _ in range(3):
            y = x + 1  # 4 KiB
            z = y * 2  # 4 KiB more
            del y
            del z
    assert watched.most == 2 * 4096
    with TensorMemory() as watched:
        _ = x.view(32, 32).T  # the same memory
    assert watched.most == 0


def test_the_memory_of_a_decoder_is_that_of_its_two_activations():
    (found,) = costs(Halving().eval(), [64], ["32-true"], CPU, repeats=1)
    assert found.note == ""
    # z (2, 32, 32) through the 1x1 convolution, and the image (1, 64, 64), 4 bytes each
    assert found.decode_mib * 2**20 == pytest.approx(4 * (2 * 32 * 32 + 64 * 64))
    assert found.encode_mib * 2**20 == pytest.approx(4 * 2 * 32 * 32)
    assert found.encode_ms > 0
    assert found.decode_ms > 0


def test_every_size_is_measured_in_every_precision_and_half_takes_half():
    found = costs(Halving().eval(), [16, 64], ["32-true", "bf16-true"], CPU, repeats=1)
    assert [(one.precision, one.size) for one in found] == [
        ("32-true", 16),
        ("32-true", 64),
        ("bf16-true", 16),
        ("bf16-true", 64),
    ]
    whole, half = found[1], found[3]
    # the latent is brought to half precision first, and gone once the 1x1 convolution has seen it
    assert half.decode_mib == pytest.approx(whole.decode_mib / 2)


def test_the_model_itself_stays_as_it_is_and_a_size_that_it_does_not_take_is_said():
    model = Halving(any_size=False).eval()
    found = costs(model, [8, 64], ["bf16-true"], CPU, repeats=1)
    assert model.dtype == torch.float32
    assert found[0].encode_ms > 0
    assert (found[1].encode_ms, found[1].note) == (None, "takes images of 8 x 8 alone")


def test_what_stands_beside_a_part_is_counted_with_it():
    assert parameters(Halving(3)) == {"all": 24 + 24 + 6, "encoder": 24, "decoder": 30, "other": 0}
