"""The discriminator of image patches (Isola et al. 2017), as taming-transformers and latent diffusion have it.

Shapes: b batch, c h w image, h' w' patches.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lehr.limits import check_word

Norm = Literal["batch", "none", "spectral"]
_MOST_TIMES_WIDER = 8  # the deepest layers than the first


class PatchGAN(nn.Module):
    """Says of overlapping patches of an image how real they look: `NLayerDiscriminator` of taming-transformers.

    With 3 channels, 3 layers of 64 and BatchNorm it has 2,765,633 parameters, each logit is of 70 x 70 pixels, and the
    names of the weights are those of taming's. The first weights are drawn from N(0, 0.02).

    Args:
        image_shape: (c, h, w).
        layers: convolutions of stride 2.
        channels: of the first of them; each has twice as many as the one before, up to eight times.
        norm: "batch"; "none", with which a logit is of its image alone; or "spectral", of the weights (Miyato et al.
            2018).

    Raises:
        ValueError: if images are too small for so many layers.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], layers: int = 3, channels: int = 64, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        check_word("norm", norm, Norm)
        _require_patches(image_shape, layers)
        wrap = spectral_norm if norm == "spectral" else _as_it_is
        widths = [channels * min(2**n, _MOST_TIMES_WIDER) for n in range(layers + 1)]
        modules: list[nn.Module] = [wrap(_conv(image_shape[0], widths[0], stride=2)), nn.LeakyReLU(0.2, inplace=True)]
        for n, (before, after) in enumerate(pairwise(widths), start=1):
            # a mean that is taken away leaves nothing of a bias
            modules.append(wrap(_conv(before, after, stride=2 if n < layers else 1, bias=norm != "batch")))
            modules += [BatchNorm(after)] if norm == "batch" else []
            modules.append(nn.LeakyReLU(0.2, inplace=True))
        self.main = nn.Sequential(*modules, wrap(_conv(widths[-1], 1, stride=1)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (b, 1, h', w') of images (b, c, h, w) in [-1, 1]; more is more real."""
        return self.main(x)


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics in training are those of the whole batch, also where ranks share it.

    So the number of processes changes no number but by rounding; unlike `torch.nn.SyncBatchNorm` on a CPU too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        nn.init.normal_(self.weight, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Images (b, c, h, w), normalised."""
        if not (self.training and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
            return super().forward(x)
        values = x.float().transpose(0, 1).flatten(1)
        count = values.new_full((1,), values.shape[1])
        var, mean = torch.var_mean(values, 1, correction=0)
        counts, means, variances = _of_all_ranks(torch.cat([count, mean, var])).split(
            [1, self.num_features, self.num_features], 1
        )
        total = counts.sum()
        share = counts / total
        mean = (share * means).sum(0)
        var = (share * (variances + (means - mean).square())).sum(0)  # Chan et al. 1979
        self._remember(mean.detach(), var.detach() * total / (total - 1))
        scale = torch.rsqrt(var + self.eps) * self.weight
        shape = (1, -1, 1, 1)
        return (x.float() * scale.view(shape) + (self.bias - mean * scale).view(shape)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(var.to(self.running_var), self.momentum)
        self.num_batches_tracked.add_(1)


class _Sum(torch.autograd.Function):
    """The sum over ranks, whose gradient is the sum over ranks: all of them go backward through it at once."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        torch.distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0].contiguous())


def _of_all_ranks(values: Tensor) -> Tensor:
    """(ranks, n) of the values (n,) of each, with gradients."""
    rows = [torch.zeros_like(values) for _ in range(torch.distributed.get_world_size())]
    rows[torch.distributed.get_rank()] = values
    found: Tensor = _Sum.apply(torch.stack(rows))
    return found


def _conv(channels: int, out: int, stride: int, bias: bool = True) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, 4, stride, padding=1, bias=bias)
    nn.init.normal_(conv.weight, 0.0, 0.02)
    return conv


def _as_it_is(module: nn.Module) -> nn.Module:
    return module


def smallest_side(layers: int) -> int:
    """Of images of which so many layers leave a patch, in pixels."""
    return 3 << layers


def _require_patches(image_shape: tuple[int, int, int], layers: int) -> None:
    """Check that something is left of the shorter side of images."""
    side = min(image_shape[1:])
    left = (side >> layers) - 2  # two more convolutions of 4 pixels, padded by 1
    if left < 1:
        most = max((n for n in range(1, layers) if (side >> n) > 2), default=0)
        fewer = f"say layers={most} or less" if most else "use larger images"
        raise ValueError(f"layers={layers}: leaves nothing of images of {side} pixels; {fewer}")
