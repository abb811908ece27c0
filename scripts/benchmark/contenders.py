"""Who is compared by `train_step.py`: the bare arithmetic, the loop of the tutorials, pythae and lehr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lehr.compose.composer import Command, composed
from lehr.run.directory import RunDirectory
from lehr.training.building import Parts

HIDDEN, LATENTS, LEARNING_RATE = 400, 20, 1e-3


@dataclass(frozen=True)
class Task:
    """What is trained on and for how long: `images` (n, pixels) for the others, `overrides` for lehr."""

    name: str
    images: Tensor
    batch_size: int
    epochs: int
    overrides: tuple[str, ...]
    device: str = "cpu"

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.images) // self.batch_size)

    @property
    def epochs_in_all(self) -> int:
        """One to warm up, those that are timed, and one whose start ends the time."""
        return self.epochs + 2


def encoder(pixels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENTS))


def decoder(pixels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, pixels))


class PlainVAE(nn.Module):
    """The VAE of the tutorials."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder(pixels), decoder(pixels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar = self.encoder(x).chunk(2, dim=1)
        std = torch.exp(0.5 * logvar)
        return self.decoder(mean + torch.randn_like(std) * std), mean, logvar


def train_plain(task: Task) -> list[float]:
    """The loop of the tutorials; when each epoch started."""
    model = PlainVAE(task.images.shape[1]).to(task.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(TensorDataset(task.images), batch_size=task.batch_size, shuffle=True)
    starts = []
    for epoch in range(task.epochs_in_all):
        starts.append(now(task))
        total = 0.0
        for (batch,) in loader:
            loss = plain_loss(model, batch.to(task.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(loader):.2f}", file=sys.stderr)
    return starts


def plain_loss(model: nn.Module, x: Tensor) -> Tensor:
    logits, mean, logvar = model(x)
    distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    rate = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
    return (distortion + rate) / len(x)


def bare(task: Task, steps: bool = True) -> list[float]:
    """Forward, backward and, with `steps`, a fused Adam, over batches on the device; when each epoch started."""
    model = PlainVAE(task.images.shape[1]).to(task.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    batches = task.images.to(task.device).split(task.batch_size)
    starts = []
    for _ in range(task.epochs_in_all):
        starts.append(now(task))
        for x in batches:
            optimizer.zero_grad()
            plain_loss(model, x).backward()
            if steps:
                optimizer.step()
    return starts


def now(task: Task) -> float:
    """The time at which all that was started on the device is done."""
    if task.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def train_pythae(task: Task) -> list[float]:
    """pythae's BaseTrainer with its defaults; when each epoch started."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    pixels = task.images.shape[1]
    starts: list[float] = []

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = encoder(pixels)

        def forward(self, x: Tensor) -> ModelOutput:
            mean, logvar = self.layers(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(decoder(pixels), nn.Sigmoid())  # its Bernoulli likelihood takes means

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z))

    class EpochStarts(TrainingCallback):
        def on_epoch_begin(self, training_config: BaseTrainerConfig, **kwargs: Any) -> None:
            starts.append(now(task))

    with TemporaryDirectory() as folder:
        model = VAE(VAEConfig((pixels,), LATENTS, reconstruction_loss="bce"), Encoder(), Decoder())
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=task.epochs_in_all, learning_rate=LEARNING_RATE,
            no_cuda=task.device == "cpu",
            per_device_train_batch_size=task.batch_size,
        )  # fmt: skip
        data = BaseDataset(task.images, torch.zeros(len(task.images)))
        BaseTrainer(model, data, training_config=config, callbacks=[EpochStarts()]).train()
    return starts


def train_lehr(task: Task) -> list[float]:
    """The shipped configuration, built and trained as `lehr train` does; when each epoch started."""
    starts: list[float] = []
    with TemporaryDirectory() as folder:
        parts = Parts(configuration(*task.overrides, f"dir={folder}"), RunDirectory(folder), None)
        # a hook of the module's own: one more callback would cost lehr time at every step
        parts.module.on_train_epoch_start = lambda: starts.append(now(task))
        parts.trainer.fit(parts.module, datamodule=parts.data)
    return starts


CONTENDERS: dict[str, Callable[[Task], list[float]]] = {
    "forward + backward": partial(bare, steps=False),
    "bare step": bare,
    "plain loop": train_plain,
    "pythae": train_pythae,
    "lehr": train_lehr,
}


def configuration(*overrides: str) -> dict[str, Any]:
    """The shipped configuration as `lehr train` composes it."""
    config, problems = composed(Command("train", None, list(overrides)))
    if config is None or problems:
        raise ValueError("; ".join(problems))
    return config.values
