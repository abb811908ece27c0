"""The vector-quantised autoencoder of taming transformers (Esser, Rombach & Ommer 2021).

Shapes: b batch, c h w image, zc zh zw latent map; K codes of zc numbers.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lehr import randomness
from lehr.limits import FractionOrNone, NonNegativeFloat, PositiveInt, check_word
from lehr.models.first_stage.fit import fitted
from lehr.models.first_stage.residual import ResidualAutoencoder
from lehr.needs import Need
from lehr.posterior.codes import COMMITMENT_WEIGHT, Codes, vectors

CodebookStart = Literal["uniform", "data"]
_ENCODED_AT_ONCE = 8  # images


class VQAutoencoder(ResidualAutoencoder):
    """diffusers' VQModel by the names of its weights, and the same codes and images.

    Args:
        image_shape: (c, h, w), any number of channels.
        codebook_size: K.
        codebook_weight: what both terms that draw codes and the encoder's output together, sums of squares over the
            latent map, are multiplied by. Taming has 1 on means over latents beside means over pixel values: the same
            is (c h w) / (zc zh zw), times what a unit of error in [-1, 1] weighs in the likelihood.
        commitment_weight: beta of van den Oord et al. 2017, equation 3. (taming and diffusers have it on the other
            term, "legacy", by a mistake that they keep.)
        codebook_start: where the codes of new weights begin: "uniform", within 1/K of 0, as in taming; or "data", at
            what the untrained encoder gives at random positions of random training images.
        revive: codes that are used less often than this, times what each would be if all were alike, begin anew at
            what the encoder gives (Dhariwal et al. 2020, "random restarts"); 0 for never, as in taming.
        revive_decay: the share of the average use of a code that is kept at each optimiser step.
        others: as of `ResidualAutoencoder`.

    Raises:
        ValueError: if the values do not fit together.
    """

    provides: ClassVar[tuple[Need, ...]] = ()

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codebook_size: PositiveInt = 1024,
        codebook_weight: NonNegativeFloat = 1.0,
        commitment_weight: NonNegativeFloat = COMMITMENT_WEIGHT,
        codebook_start: CodebookStart = "uniform",
        revive: FractionOrNone = 0.0,
        revive_decay: FractionOrNone = 0.99,
        **others: Any,
    ) -> None:
        super().__init__(image_shape, **others)
        channels = self.latent_shape[0]
        check_word("model.codebook_start", codebook_start, CodebookStart)
        self.codebook_size = codebook_size
        self.codebook_start: CodebookStart = codebook_start
        self.revive, self.revive_decay = revive, revive_decay
        self.codebook_weight = codebook_weight
        self.commitment_weight = commitment_weight
        self.quant_conv = nn.Conv2d(channels, channels, 1)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(codebook_size, channels)})
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)
        nn.init.uniform_(self.codebook, -1 / codebook_size, 1 / codebook_size)

    def diffusers_config(self) -> dict[str, Any]:
        names = {"_class_name": "VQModel", "num_vq_embeddings": self.codebook_size}
        return {**super().diffusers_config(), **names}

    @property
    def codebook(self) -> Tensor:
        """(K, zc)"""
        weight = self.quantize["embedding"].weight
        assert isinstance(weight, Tensor)
        return weight

    @torch.no_grad()
    def start_codes(self, images: Tensor, seed: int) -> None:
        if self.codebook_start == "uniform":
            return
        # one position an image, about, so that codes are of as many images as can be
        chosen = randomness.permutation(seed, "codes/images", 0, len(images))[: self.codebook_size]
        given = torch.cat(
            [
                vectors(self._encoded(fitted(images[rows].to(self.codebook), self.factor, self.fit)))
                for rows in chosen.split(_ENCODED_AT_ONCE)
            ]
        )
        order = randomness.permutation(seed, "codes/positions", 0, len(given))[: self.codebook_size]
        self.codebook[: len(order)] = given[order]  # of fewer positions than codes the others stay near 0

    def _encoded(self, x: Tensor) -> Tensor:
        return self.quant_conv(self._encoder_output(x))

    def _decoded(self, z: Tensor) -> Tensor:
        return self._decoder_output(self.post_quant_conv(z))

    def _posterior(self, encoded: Tensor) -> Codes:
        return Codes.nearest(encoded, self.codebook, self.commitment_weight, self.codebook_weight)
