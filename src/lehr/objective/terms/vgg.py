"""The convolutions of VGG16 (Simonyan & Zisserman 2015, configuration D), as far as LPIPS looks.

Shapes: b batch, h w image.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""The channels of each convolution; a block is halved before the next one."""
LEAST_SIDE = 2 ** (len(BLOCKS) - 1)


class VGG16(nn.Module):
    """Images (b, 3, h, w) to the last activations of the five blocks: (b, channels, h / 2^i, w / 2^i).

    Its state dict names are those of torchvision's vgg16. The weights are not drawn, but loaded by `of`.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends = []
        before = 3
        for block in BLOCKS:
            layers += [nn.MaxPool2d(2)] if layers else []
            for channels in block:
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
                before = channels
            self.ends.append(len(layers))
        self.features = nn.Sequential(*layers)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> VGG16:
        """The network with torchvision's weights; those of the classifier are left out.

        Raises:
            RuntimeError: if weights are missing, or of other shapes.
        """
        with torch.device("meta"):
            network = cls()
        own = {name: weight.float() for name, weight in weights.items() if name.startswith("features.")}
        network.load_state_dict(own, assign=True)
        return network

    def forward(self, x: Tensor) -> list[Tensor]:
        found, start = [], 0
        for end in self.ends:
            x = self.features[start:end](x)
            found.append(x)
            start = end
        return found
