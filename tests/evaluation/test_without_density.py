"""What is known of q(z) where q(z|x) has no density: moments and codes, but no KL."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lehr.errors import NoDensity, NonFinite
from lehr.evaluation import AggregatePosteriorMetric
from lehr.evaluation.mutual_information import mutual_information
from lehr.evaluation.statistics import JSON_NAME, TENSORS_NAME, Source, read_statistics, summary, write_statistics
from lehr.models import wrap
from lehr.posterior import AggregatePosterior, Codes, DiagonalGaussian, FixedVariance, Point, count_uninformed

SHAPES = [(3,), (3, 2, 2)]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def codes(shape: tuple[int, ...], n: int = 50) -> Codes:
    return Codes.nearest(draw(n, *shape), draw(6, 3, seed=1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [50, 7])
def test_points_have_the_moments_of_their_latents_and_no_kl(shape, batch):
    q = Point(draw(50, *shape))
    metric = AggregatePosteriorMetric(shape)
    for start in range(0, 50, batch):
        metric.update(q[start : start + batch])
    metric.update(q[50:])
    found, flat = metric.compute(), q.mean.flatten(1).numpy()
    np.testing.assert_allclose(found.mean, flat.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.var, flat.var(0, ddof=1), rtol=1e-9)
    assert not found.mean_of_var.any()
    assert found.kl is None
    assert found.channels is None or found.channels.kl is None
    assert AggregatePosterior.of(q).kl is None


def test_one_batch_without_a_kl_leaves_it_unknown():
    metric = AggregatePosteriorMetric((3,))
    metric.update(DiagonalGaussian(draw(5, 3), draw(5, 3)))
    metric.update(Point(draw(5, 3)))
    assert metric.compute().kl is None


@pytest.mark.parametrize(
    ("mean", "logvar", "what"),
    [
        (torch.nan, 0.0, "3 of 3 numbers of the means"),
        (0.0, torch.inf, "3 of 3 numbers of the variances"),
        (torch.inf, 0.0, "3 of 3 numbers of the means"),
        (0.0, -torch.inf, "3 of 3 numbers of the KL to N"),
    ],
)
def test_moments_that_were_lost_to_nan_are_said_to_be_so(mean, logvar, what):
    """And are not taken for those of a posterior without a density."""
    with pytest.raises(NonFinite, match=f"latents of 4 examples: {what}") as error:
        AggregatePosterior.of(DiagonalGaussian(torch.full((4, 3), mean), torch.full((4, 3), logvar)))
    assert "\n" not in str(error.value)


def test_a_fixed_variance_is_the_noise_of_every_latent():
    q = FixedVariance(draw(50, 3), 0.3)
    found = AggregatePosterior.of(q)
    torch.testing.assert_close(found.mean_of_var, torch.full((3,), 0.09).double())
    torch.testing.assert_close(found.kl, q.kl_per_dimension().mean(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_codes_are_counted_over_all_batches(shape):
    q = codes(shape)
    metric = AggregatePosteriorMetric(shape, codebook_size=6)
    for start in range(0, 50, 7):
        metric.update(q[start : start + 7])
    found = metric.compute()
    assert found.usage.tolist() == [int((q.indices == code).sum()) for code in range(6)]
    assert found.usage.dtype == torch.int64
    numbers = summary(found)
    share = found.usage[found.usage > 0].numpy() / found.usage.sum().item()
    assert numbers["code_perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert numbers["codes_used"] == (found.usage > 0).sum()
    assert "kl_standard_normal" not in numbers
    metric.reset()
    assert not metric.usage.any()


def test_a_metric_knows_the_codebook_of_its_model():
    class Quantised(torch.nn.Module):
        def encode(self, x):
            return Codes.nearest(x.flatten(1)[:, :3], draw(6, 3, seed=1).float())

        def decode(self, z):
            return z.sum(1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)

    model = wrap(Quantised(), (1, 2, 2))
    metric = AggregatePosteriorMetric.of(model)
    metric.update(model.encode(draw(9, 1, 2, 2).float()))
    assert metric.compute().usage.sum() == 9


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_is_read_back(tmp_path, shape):
    written = AggregatePosterior.of(codes(shape))
    write_statistics(tmp_path, written, Source("made up", "train"))
    assert "kl" not in load_file(tmp_path / TENSORS_NAME)
    text = json.loads((tmp_path / JSON_NAME).read_text())
    assert "kl" not in text["per_dimension"]
    assert "kl_standard_normal" not in text
    assert text["code_perplexity"] == summary(written)["code_perplexity"]
    found = read_statistics(tmp_path)
    assert found.kl is None
    assert torch.equal(found.usage, written.usage)
    assert torch.equal(found.var, written.var)


def test_what_needs_a_density_refuses_in_one_line():
    for q in (Point(draw(5, 3)), codes((3,))):
        for ask in (lambda q=q: mutual_information(q), lambda q=q: count_uninformed(q)):
            with pytest.raises(NoDensity, match=rf"^{type(q).__name__}\.[a-z_]+: [^\n]+$"):
                ask()
