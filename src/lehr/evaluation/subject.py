"""What is evaluated, and how: a trained model with its data, passed through the encoder once a split.

Shapes: n examples, b of them in a batch, `*latent` (d,) or (zc, zh, zw), c h w image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lehr import randomness
from lehr.data.batch import Batch
from lehr.data.module import ImageDataModule
from lehr.finite import require_finite_tensors
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Likelihood
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior


class Progress(Protocol):
    """A line that shows how far something is."""

    def advance(self, steps: int = 1) -> None: ...

    def show(self, done: int, text: str) -> None: ...


class _Silent:
    def advance(self, steps: int = 1) -> None:
        """Nothing is shown."""

    def show(self, done: int, text: str) -> None:
        """Nothing is shown."""


@contextmanager
def silent(name: str, total: int) -> Iterator[Progress]:
    """No progress line."""
    yield _Silent()


ShowProgress = Callable[[str, int], AbstractContextManager[Progress]]
"""(what is going on, how many steps it has) -> a line, within a `with`."""


@dataclass(frozen=True)
class Subject:
    """A trained model and what belongs to it, in evaluation mode.

    Attributes:
        model: encoder and decoder.
        likelihood: what the decoder's output means.
        prior: p(z).
        aggregate: the statistics of q(z) over the training set; None where they were not measured.
        data: the data set it was trained on, read.
        device: where the model is.
    """

    model: Autoencoder
    likelihood: Likelihood
    prior: LatentDensity
    aggregate: AggregatePosterior | None
    data: ImageDataModule
    device: torch.device

    def batches(self, split: str, limit: int | None = None) -> Iterator[Batch]:
        """At most `limit` examples of a split, chosen at random, as the model sees them."""
        yield from self.data.evaluation_loader(split, self.device, limit=limit)

    def stored_images(self, split: str, limit: int | None = None) -> Iterator[Tensor]:
        """Batches (b, c, h, w) of the same examples as they are stored: grey where the model sees binary."""
        images = self.data.part(split, limit)
        yield from images.fetch(
            torch.arange(len(images)).split(self.data.eval_batch_size), epoch=None, device=self.device
        )

    def labels(self, split: str, limit: int | None = None) -> Tensor | None:
        """(n,) classes or (n, f) factors of the same examples; None where there are none."""
        return self.data.part(split, limit).labels


@dataclass(frozen=True)
class Encoded:
    """A part of a split, encoded.

    Attributes:
        posterior: q(z|x) of each example, (n, *latent), on the CPU.
        z: (n, *latent), one sample of each.
    """

    posterior: Posterior
    z: Tensor

    def __len__(self) -> int:
        return len(self.z)


@torch.inference_mode()
def encode(subject: Subject, split: str, limit: int | None, show: ShowProgress, seed: int = 0) -> Encoded:
    """Pass at most `limit` examples of a split through the encoder.

    Raises:
        NonFinite: if latents are NaN or infinite.
    """
    posteriors, samples = [], []
    with show(f"encoding {split}", len(subject.data.part(split, limit))) as line:
        for batch in subject.batches(split, limit):
            posterior = subject.model.encode(batch.images)
            stop = batch.start + len(batch)
            shape = posterior.noise_shape
            noise = randomness.rows("normal", seed, f"evaluate/{split}", batch.start, stop, shape, subject.device)
            posteriors.append(posterior.to("cpu"))
            samples.append(posterior.sample(noise).cpu())
            line.advance(len(batch))
    posterior, z = type(posteriors[0]).cat(posteriors), torch.cat(samples)
    where = f"latents of {len(z):,} {split} examples"
    require_finite_tensors(where, {"the means": posterior.mean, "the variances": posterior.var, "the samples": z})
    return Encoded(posterior, z)


@torch.inference_mode()
def decode(subject: Subject, z: Tensor) -> Iterator[Tensor]:
    """Batches (b, c, h, w) of E[x|z] for latents (n, *latent)."""
    for part in z.split(subject.data.eval_batch_size):
        yield subject.likelihood.mean(subject.model.decode(part.to(subject.device)))
