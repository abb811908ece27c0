"""Models whose posteriors are of other kinds: each is trained, measured and has statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from harness import Tiny, fit
from lightning.pytorch import Callback
from torch import Tensor, nn

from lehr.errors import ConfigError
from lehr.evaluation import AggregatePosteriorMetric
from lehr.evaluation.catalogue import final_split
from lehr.models import Autoencoder
from lehr.objective import AnnealedKL, Gaussian
from lehr.posterior import Codes, FixedVariance, Point, Posterior
from lehr.posterior.point import PointPosterior
from lehr.training import VAEModule
from lehr.training.callbacks.checkpoints import Checkpoints
from lehr.training.callbacks.early_stopping import EarlyStopping
from lehr.training.players import PlayerPlan


@dataclass(frozen=True, eq=False)
class Rounded(PointPosterior):
    """A point, and one number of noise for each example, whatever the latent."""

    mean: Tensor

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (1,)

    def sample(self, noise: Tensor) -> Tensor:
        assert noise.shape == (len(self.mean), 1)
        return self.mean + 0.01 * noise.view(-1, *[1] * (self.mean.ndim - 1))


class Small(Autoencoder):
    """Linear, to two positions of two numbers each."""

    def __init__(self, kind: str) -> None:
        torch.manual_seed(0)
        super().__init__((1, 4, 4), (2, 1, 2))
        self.kind = kind
        self.down, self.up = nn.Linear(16, 4), nn.Linear(4, 16)
        self.codebook_size = 6 if kind == "codes" else 0
        if kind == "codes":
            self.codebook = nn.Parameter(0.3 * torch.randn(6, 2))

    def encode(self, x: Tensor) -> Posterior:
        output = self.down(x.flatten(1)).view(-1, 2, 1, 2)
        if self.kind == "rounded":
            return Rounded(output)
        if self.kind == "fixed":
            return FixedVariance(output, 0.1)
        return Codes.nearest(output, self.codebook) if self.kind == "codes" else Point(output)

    def decode(self, z: Tensor) -> Tensor:
        return self.up(z.flatten(1)).view(-1, 1, 4, 4)


def trained(tmp_path: Path, kind: str, *callbacks: Callback) -> tuple[VAEModule, dict[str, float], Tensor]:
    """A module trained for some epochs, the metrics of its last validation, and the images it validated on."""
    model = Small(kind)
    plan = PlayerPlan(torch.optim.Adam, {"lr": 1e-2})
    module = VAEModule(model, Gaussian(1.0), AnnealedKL(weight=0.1, warmup=0), plan)
    fit(tmp_path, *callbacks, module=module, max_epochs=8)
    data = Tiny()
    data.setup("fit")
    images = torch.cat([batch.images for batch in data.evaluation_loader("val", torch.device("cpu"))])
    return module, module.evaluated, images


@pytest.mark.parametrize("kind", ["fixed", "point", "codes", "rounded"])
def test_it_learns_to_reconstruct_and_reports_what_there_is(tmp_path, kind):
    module, found, images = trained(tmp_path, kind)
    with torch.no_grad():
        start = Small(kind)
        before = -Gaussian(1.0).log_prob(images, start.decode(start.encode(images).mean)).mean()
        posterior = module.model.encode(images)
        after = -Gaussian(1.0).log_prob(images, module.model.decode(posterior.mean)).mean()
    assert after < before - 0.5
    assert found["val/distortion"] == pytest.approx(float(after), abs=0.2 if kind in ("fixed", "rounded") else 1e-4)
    if kind in ("point", "codes"):  # of which the sample is the mean
        with torch.no_grad():
            error = (images - module.model.decode(posterior.mean).clamp(0, 1)).square().flatten(1).mean(1)
        assert found["val/psnr"] == pytest.approx(float(-10 * error.log10().mean()), abs=1e-4)
    if kind == "fixed":
        assert found["val/rate"] == pytest.approx(float(posterior.kl().mean()), rel=1e-5)
        assert found["val/elbo"] == pytest.approx(-found["val/distortion"] - found["val/rate"])
    else:
        assert not {"val/rate", "val/elbo"} & found.keys()


def test_the_codebook_follows_the_encoder_and_its_charges_are_part_of_the_loss(tmp_path):
    module, validated, images = trained(tmp_path, "codes")
    with torch.no_grad():
        found = module.model.encode(images)
        of_first_codebook = Codes.nearest(found.output, Small("codes").codebook)
        metric = AggregatePosteriorMetric.of(module.model)
        metric.update(found)
    assert found.charges()["codebook"].mean() < 0.7 * of_first_codebook.charges()["codebook"].mean()
    usage = metric.compute().usage
    assert usage.sum() == 2 * len(images)
    share = usage[usage > 0].double() / usage.sum()
    assert validated["val/perplexity"] == pytest.approx(float((-share * share.log()).sum().exp()))
    assert (validated["val/codes_used"], validated["val/code_share"]) == (len(share), pytest.approx(len(share) / 6))
    assert {"distortion", "codebook", "commitment"} == module.last_step.terms.keys()


def test_without_a_rate_the_best_is_that_of_the_least_distortion(tmp_path):
    checkpoints = Checkpoints()
    _, found, _ = trained(tmp_path, "point", checkpoints)
    assert checkpoints.best == -found["val/distortion"]  # it still fell at the end
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()
    assert final_split({"test/distortion": 1.0}) == "test"


def test_without_an_elbo_nothing_can_stop_early(tmp_path):
    with pytest.raises(ConfigError, match=r"^callbacks\.early_stopping\.patience: there is no val/elbo[^\n]*$"):
        trained(tmp_path, "codes", EarlyStopping(patience=2))
