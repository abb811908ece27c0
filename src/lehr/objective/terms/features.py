"""How different two images are to a network: the distance of its features (the `terms` group).

Shapes: b batch, c h w image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from lehr.errors import ConfigError
from lehr.limits import PathString, Text, check_word
from lehr.objective.terms.term import LossTerm, PerOfReconstruction, TermInputs, TermResult

Scale = Literal["normalised", "raw"]
_EPS = 1e-8  # of a square, so that there is a gradient where a position has no feature at all


class FeatureDistance(LossTerm):
    """The squared distance of a network's features, added up over layers; the network stays as it is, in float32.

    For a network of one's own a subclass gives it to `use`, and perhaps says in `look` how it is shown images:

        class Ours(FeatureDistance):
            def __init__(self, image_shape, layers=("layer1", "layer2"), **options):
                super().__init__(image_shape, layers, **options)
                self.use(our_network())

    and `terms.ours._target_=package.Ours trust=[package]`.

    Args:
        image_shape: (c, h, w); smaller ones the network is not shown.
        layers: names of its submodules whose outputs (b, channels, ...) are compared; none for what `look` gives.
        scale: "normalised": of each position the channels have length 1, as in LPIPS, and positions are averaged;
            "raw": the mean of all squares.
        per: as of `LossTerm`.
        options: as of `LossTerm`.
    """

    compares_images = True
    unit_of_value = "squared features"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        layers: Sequence[Text] = (),
        scale: Scale = "normalised",
        per: PerOfReconstruction = "pixel",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.per = per
        check_word("terms.features.scale", scale, Scale)
        self.least_side = min(image_shape[1:])
        self.scale = scale
        self.layers = tuple(layers)
        self._seen: dict[str, Any] = {}

    def use(self, network: nn.Module) -> Self:
        """Compare by this network, which looks at images (b, c, h, w) in [0, 1].

        Raises:
            ConfigError: if it has no such layers.
        """
        named = dict(network.named_modules())
        if unknown := [name for name in self.layers if name not in named]:
            what, some = type(network).__name__, ", ".join([name for name in named if name][:12])
            raise ConfigError(f"terms.features.layers: there is no {unknown[0]} in {what}; it has {some}")
        for name in self.layers:
            named[name].register_forward_hook(lambda _, __, output, name=name: self._seen.update({name: output}))
        self.keep("network", network.float())
        return self

    def look(self, images: Tensor) -> Tensor:
        """Show images (b, c, h, w) to the network: what it gives, (b, ...)."""
        return self.network(images)

    def forward(self, inputs: TermInputs) -> TermResult:
        with torch.autocast(inputs.images.device.type, enabled=False):
            with torch.no_grad():
                targets = self._features(inputs.images)
            found = self._features(inputs.reconstruction)
            distances = [self._distance(x, y) for x, y in zip(targets, found, strict=True)]
        return TermResult(torch.stack(distances).sum(0))

    def _features(self, images: Tensor) -> list[Tensor]:
        given = self.look(images)
        found = [self._seen[name] for name in self.layers] or [given]
        self._seen.clear()
        for name, output in zip(self.layers or ["its output"], found, strict=True):
            if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(images):
                raise ConfigError(f"terms.features.layers: {name} gives no features of each image; name another layer")
        return found

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        if self.scale == "raw":
            return (x - y).square().flatten(1).mean(1)
        x, y = (part / (part.square().sum(1, keepdim=True) + _EPS).sqrt() for part in (x, y))
        return (x - y).square().sum(1).reshape(len(x), -1).mean(1)  # without positions the whole is one


class RunFeatures(FeatureDistance):
    """The distance to the encoder of a finished run of lehr.

    Args:
        image_shape: (c, h, w).
        load_model: the directory of a run -> its model, from those who know how it is kept.
        run: that directory.
        others: as of `FeatureDistance`; layers are submodules of the model that its encoder runs through, none for the
            posterior's mean.

    Raises:
        ConfigError: if its images have another shape.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], load_model: Callable[[str], Any], run: PathString, **others: Any
    ) -> None:
        super().__init__(image_shape, **others)
        model = load_model(run)
        if tuple(model.image_shape) != tuple(image_shape):
            theirs, ours = (" x ".join(map(str, shape)) for shape in (model.image_shape, image_shape))
            raise ConfigError(f"terms.features.run={run}: was trained on images of {theirs}, and these are {ours}")
        if isinstance(getattr(model, "tile", None), int):
            model.tile = None  # of an image in tiles the layers would have the last one alone
        self.use(model)

    def look(self, images: Tensor) -> Tensor:
        return self.network.encode(images).mean
