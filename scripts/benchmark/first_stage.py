"""A first-stage autoencoder with a discriminator on a CPU: lehr against a plain loop over the same networks and losses.

    python scripts/benchmark/first_stage.py [--steps 40] [--repeats 3]

Each contender trains in a process of its own, in turn; told are images per second and peak memory, and lehr's over its
rival's. `kl_f8_small`, batches of 8 at 64 x 64: absolute error, pyramid, KL, hinge loss with the adaptive weight.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from torch.nn import functional as F

from lehr.compose.composer import Command, composed
from lehr.objective.terms.laplacian import pyramid
from lehr.objective.terms.patchgan import PatchGAN
from lehr.run.directory import RunDirectory
from lehr.run.model_files import build_model
from lehr.training.building import Parts
from lehr.training.extras import Extras

BATCH, SHAPE, WARM_UP = 8, (3, 64, 64), 5
WORDS = ("experiment=ldm_kl_f8_small", "terms.adversarial.start=0", "terms.adversarial.lr=1e-3",
         f"data.batch_size={BATCH}",
         "optimizer.decay=none", "trainer.max_epochs=null", "trainer.check_val_every_n_epoch=null", "logger=none",
         "callbacks.progress=null", "callbacks.samples=null", "callbacks.checkpoints=null")  # fmt: skip


def images(number: int) -> torch.Tensor:
    """(n, 3, 64, 64) uint8: coarse noise."""
    noise = torch.rand(number, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (F.interpolate(noise, SHAPE[1:], mode="bilinear") * 255).byte()


def values(*words: str) -> dict[str, Any]:
    """The configuration that these words come to."""
    found, problems = composed(Command("train", None, list(words)))
    if found is None or problems:
        raise SystemExit("\n".join(problems))
    return found.values


class Clock(Callback):
    """When each step has ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *arguments: object) -> None:
        self.ends.append(time.perf_counter())


def lehr_ends(folder: Path, steps: int) -> list[float]:
    """Train with lehr; when each step has ended."""
    np.save(folder / "images.npy", images(BATCH * steps).numpy())
    config = values(*WORDS, "data.path=/", "data.test_path=/", f"trainer.max_steps={steps}")
    own = (f"data.path={folder / 'images.npy'}", "data.test_fraction=0", f"data.batch_size={BATCH}")
    config["data"] = values("data=arrays", *own)["data"]
    clock = Clock()
    parts = Parts(config, RunDirectory(folder / "run"), None, Extras(callbacks=(clock,)))
    parts.trainer.fit(parts.module, datamodule=parts.data)
    return clock.ends


def plain_ends(folder: Path, steps: int) -> list[float]:
    """The loop that one would write; when each step has ended."""
    config = values(*WORDS, "data.path=/", "data.test_path=/")
    torch.manual_seed(0)
    model, critic = build_model(config, SHAPE), PatchGAN(SHAPE, layers=2, channels=16)
    optimizers = [torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.9), fused=True) for net in (model, critic)]
    data, ends = images(BATCH * steps), []
    for rows in torch.randperm(len(data)).split(BATCH):
        x = data[rows].float() / 255
        posterior = model.encode(x)
        y = model.decode(posterior.sample(torch.randn(BATCH, *model.latent_shape)))
        levels = zip(pyramid(2 * x - 1, 5), pyramid(2 * y - 1, 5), strict=True)
        error = 2 * (x - y).abs().sum() + 0.5 * x[0].numel() * BATCH * sum((a - b).abs().mean() for a, b in levels)
        gan = -critic(2 * y - 1).mean() * BATCH
        of_error, of_gan = (torch.autograd.grad(loss, model.last_layer, retain_graph=True)[0] for loss in (error, gan))
        weight = 0.5 * (of_error.norm() / (of_gan.norm() + 1e-4)).clamp(0, 1e4)
        optimizers[0].zero_grad()
        ((error + 1e-6 * posterior.kl().sum() + weight * gan) / BATCH).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        (0.5 * (F.relu(1 - critic(2 * x - 1)) + F.relu(1 + critic(2 * y.detach() - 1))).mean()).backward()
        optimizers[1].step()
        ends.append(time.perf_counter())
    return ends


CONTENDERS = {"plain": plain_ends, "lehr": lehr_ends}


def measure(name: str, steps: int) -> None:
    """Print images per second and peak memory, in MiB, of a contender in this process."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        ends = CONTENDERS[name](Path(folder), steps)
    speed = BATCH * (len(ends) - 1 - WARM_UP) / (ends[-1] - ends[WARM_UP])
    print(json.dumps([speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=CONTENDERS, help="in this process, and print what was measured")
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.only, arguments.steps)
        return
    found: dict[str, list[list[float]]] = {name: [] for name in CONTENDERS}
    for _ in range(arguments.repeats):
        for name, measured in found.items():
            command = [sys.executable, __file__, "--only", name, "--steps", str(arguments.steps)]
            out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            measured.append(json.loads(out.splitlines()[-1]))
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, (speed, memory) in medians.items():
        print(f"{name:6} {speed:8.2f} images/s {memory:8.0f} MiB")
    ratios = [ours / theirs for ours, theirs in zip(medians["lehr"], medians["plain"], strict=True)]
    print(f"lehr / plain: speed {ratios[0]:.3f}, peak memory {ratios[1]:.3f}")


if __name__ == "__main__":
    main()
