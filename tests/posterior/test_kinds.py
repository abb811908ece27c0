"""What every kind of posterior must do, and what each has or has not."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from lehr.errors import LehrError, NoDensity
from lehr.posterior import Codes, DiagonalGaussian, FixedVariance, Point, Posterior, StandardNormal
from lehr.posterior import Normal as NormalDensity

SHAPES = [(5, 3), (5, 3, 2, 4)]
KINDS = ["gaussian", "bounded", "fixed", "fixed_tensor", "point", "codes"]


def draw(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def posterior(kind: str, shape: tuple[int, ...] = SHAPES[0], seed: int = 0) -> Posterior:
    mean, other = draw(shape, seed), draw(shape, seed + 1)
    if kind == "gaussian":
        return DiagonalGaussian(mean, other)
    if kind == "bounded":
        return DiagonalGaussian.bounded(mean, 20 * other, -5, 5)
    if kind == "fixed":
        return FixedVariance(mean, 0.3)
    if kind == "fixed_tensor":
        return FixedVariance(mean, torch.tensor(0.3))
    if kind == "point":
        return Point(mean)
    return Codes.nearest(mean, draw((7, shape[1]), 9))


def tensors(q: Posterior) -> dict[str, torch.Tensor]:
    """Everything with a row for each example that is known of q."""
    known = {"mean": q.mean, "var": q.var, "z": q.sample(draw((len(q), *q.noise_shape), 5).to(q.mean))}
    if q.has_density:
        known |= {
            "kl": q.kl(),
            "kl_per_dimension": q.kl_per_dimension(),
            "log_prob": q.log_prob(torch.ones_like(q.mean)),
        }
        known["logvar"] = q.normal().logvar
    if isinstance(q, Codes):
        known |= {"indices": q.indices, "codes": q.codes, "output": q.output}
    return known | q.charges()


def assert_same(q: Posterior, expected: dict[str, torch.Tensor], but: tuple[str, ...] = ()) -> None:
    found = tensors(q)
    assert found.keys() == expected.keys()
    for name in found.keys() - set(but):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0, msg=name)


kinds = pytest.mark.parametrize("kind", KINDS)
shapes = pytest.mark.parametrize("shape", SHAPES)


@kinds
@shapes
def test_examples_picked_are_those_rows_of_everything_that_is_known(kind, shape):
    q = posterior(kind, shape)
    known = tensors(q)
    for rows in (slice(1, 4), torch.tensor([4, 0, 0]), [2, 3], slice(2, 2)):
        # z is compared with the same noise below
        assert_same(q[rows], {name: tensor[rows] for name, tensor in known.items()}, but=("z",))
    rows = torch.tensor([4, 0])
    noise = draw((5, *q.noise_shape), 5)
    torch.testing.assert_close(q[rows].sample(noise[rows]), q.sample(noise)[rows])
    assert len(q[rows]) == 2


@kinds
@shapes
def test_parts_joined_are_the_whole(kind, shape):
    q = posterior(kind, shape)
    joined = type(q).cat([q[:2], q[2:2], q[2:]])
    assert type(joined) is type(q)
    assert_same(joined, tensors(q))
    assert joined.diagnostics() == q.diagnostics()


@kinds
def test_an_example_repeated_is_k_times_itself(kind):
    q = posterior(kind)
    assert_same(q.repeat_interleave(3)[1::3], tensors(q))
    assert len(q.repeat_interleave(3)) == 15


@kinds
@shapes
def test_a_posterior_converted_computes_in_the_wider_type(kind, shape):
    q = posterior(kind, shape)
    wide = q.to(torch.float64)
    for name, tensor in tensors(wide).items():
        narrow = tensors(q)[name]
        assert tensor.dtype == (torch.int64 if name == "indices" else torch.float64), name
        if name != "log_prob":
            torch.testing.assert_close(tensor.to(narrow.dtype), narrow, rtol=1e-5, atol=1e-5)
    assert q.to("cpu").mean.device.type == "cpu"
    assert q.to("meta").mean.device.type == "meta"


@kinds
def test_detached_it_leads_back_to_no_parameter(kind):
    mean = draw((5, 3), 0).requires_grad_()
    std = torch.tensor(0.5, requires_grad=True)
    codebook = draw((7, 3), 9).requires_grad_()
    q = {
        "gaussian": lambda: DiagonalGaussian(mean, 2 * mean),
        "bounded": lambda: DiagonalGaussian.bounded(mean, 2 * mean, -1, 1),
        "fixed": lambda: FixedVariance(mean, 0.3),
        "fixed_tensor": lambda: FixedVariance(mean, std),
        "point": lambda: Point(mean),
        "codes": lambda: Codes.nearest(mean, codebook),
    }[kind]()
    assert q.mean.requires_grad
    assert not any(tensor.requires_grad for tensor in tensors(q.detach()).values())
    assert_same(q.detach(), {name: tensor.detach() for name, tensor in tensors(q).items()})


@kinds
@shapes
def test_several_samples_of_each_example_are_those_of_their_noise(kind, shape):
    q = posterior(kind, shape)
    noise = draw((5, 4, *q.noise_shape), 3)
    z = q.with_sample_dim().sample(noise)
    assert z.shape == (5, 4, *shape[1:])
    for k in range(4):
        torch.testing.assert_close(z[:, k], q.sample(noise[:, k]))


@kinds
@shapes
def test_as_a_vector_a_latent_is_the_same_posterior(kind, shape):
    q = posterior(kind, shape)
    flat = q.flat()
    assert flat.latent_shape == (math.prod(shape[1:]),)
    torch.testing.assert_close(flat.mean, q.mean.flatten(1))
    torch.testing.assert_close(flat.var, q.var.flatten(1))
    assert {name: charge.tolist() for name, charge in flat.charges().items()} == {
        name: charge.tolist() for name, charge in q.charges().items()
    }
    if q.has_density:
        torch.testing.assert_close(flat.kl(), q.kl())


@kinds
def test_standardised_it_has_the_moments_of_the_standardised_latent(kind):
    q, mean, std = posterior(kind), draw((3,), 7), draw((3,), 8).exp()
    standardised = q.standardised(mean, std)
    torch.testing.assert_close(standardised.mean, (q.mean - mean) / std)
    torch.testing.assert_close(standardised.var, q.var / std.square())
    noise = draw((5, *q.noise_shape), 5)
    torch.testing.assert_close(standardised.sample(noise), (q.sample(noise) - mean) / std)


def test_a_copy_of_its_own_can_be_trained_on_after_inference_mode():
    with torch.inference_mode():
        q = posterior("bounded")
    with pytest.raises(RuntimeError, match=r"[Ii]nference"):
        (q.mean * torch.ones(3, requires_grad=True)).sum().backward()
    own = q.clone()
    (own.mean * torch.ones(3, requires_grad=True)).sum().backward()


def test_kinds_are_not_joined_with_each_other():
    with pytest.raises(ValueError, match="posteriors of several kinds: DiagonalGaussian, Point"):
        Posterior.cat([posterior("point"), posterior("gaussian")])


def test_a_raw_log_variance_that_some_parts_lack_is_not_made_up():
    joined = DiagonalGaussian.cat([posterior("bounded"), posterior("gaussian")])
    assert joined.raw_logvar is None
    assert len(joined) == 10


@pytest.mark.parametrize("kind", ["gaussian", "bounded", "fixed", "fixed_tensor"])
@shapes
def test_the_density_at_the_sample_of_a_noise_is_the_density_there(kind, shape):
    q = posterior(kind, shape).to(torch.float64)
    noise = draw((4, *shape), 3).double()  # four samples, before the examples
    expected = torch.stack([q.log_prob(q.sample(one)) for one in noise])
    torch.testing.assert_close(q.log_prob_of_noise(noise), expected, rtol=1e-9, atol=1e-9)


def test_the_density_of_a_noise_does_not_cancel_where_the_variance_is_small():
    mean, logvar = torch.full((1, 1), 1e4), torch.full((1, 1), -40.0)
    noise = torch.tensor([[1.5]])
    expected = -0.5 * (1.5**2 - 40 + math.log(2 * math.pi))
    assert DiagonalGaussian(mean, logvar).log_prob_of_noise(noise).item() == pytest.approx(expected)
    assert DiagonalGaussian(mean, logvar).log_prob(mean + math.exp(-20) * noise).item() != pytest.approx(expected)


@pytest.mark.parametrize("kind", ["gaussian", "fixed"])
def test_the_rate_is_exact_to_n01_and_else_the_log_ratio_at_z(kind):
    q, z = posterior(kind), draw((5, 3), 3)
    other = NormalDensity(torch.ones(3), 2 * torch.ones(3), (3,))
    torch.testing.assert_close(q.kl_to(StandardNormal((3,))), q.kl())
    torch.testing.assert_close(q.rate(StandardNormal((3,)), z), q.kl())
    assert q.kl_to(other) is None
    torch.testing.assert_close(q.rate(other, z), q.log_prob(z) - other.log_prob(z))


@pytest.mark.parametrize("std", [0.05, 1.0, 3.0])
@shapes
def test_a_fixed_variance_is_the_normal_of_torch_distributions(shape, std):
    q = FixedVariance(draw(shape, 0).double(), std)
    reference = Independent(Normal(q.mean, std), len(shape) - 1)
    prior = Independent(Normal(torch.zeros(shape).double(), 1.0), len(shape) - 1)
    z = draw(shape, 1).double()
    torch.testing.assert_close(q.log_prob(z), reference.log_prob(z))
    torch.testing.assert_close(q.kl(), kl_divergence(reference, prior))
    torch.testing.assert_close(q.kl_per_dimension(), kl_divergence(reference.base_dist, prior.base_dist))
    torch.testing.assert_close(q.var, reference.variance)
    torch.testing.assert_close(q.sample(z), q.mean + std * z)


def test_the_rate_of_a_fixed_variance_leaves_only_the_mean_to_learn():
    mean = draw((5, 3), 0).requires_grad_()
    FixedVariance(mean, 0.2).kl().sum().backward()
    torch.testing.assert_close(mean.grad, mean.detach())


def test_a_standard_deviation_that_is_learned_has_the_gradient_of_the_closed_form():
    std = torch.tensor(0.5, requires_grad=True)
    FixedVariance(torch.zeros(1, 3), std).kl().sum().backward()
    assert std.grad.item() == pytest.approx(3 * (0.5 - 1 / 0.5))  # d/ds of (s^2 - 1)/2 - ln s, three times


@pytest.mark.parametrize("kind", ["point", "codes"])
@shapes
def test_a_point_is_its_mean_whatever_the_noise(kind, shape):
    q = posterior(kind, shape)
    assert q.noise_shape == (0,)
    assert not q.var.any()
    assert torch.equal(q.sample(torch.empty(5, 0)), q.mean)
    assert torch.equal(q.sample(draw(shape, 3)), q.mean)  # that of a posterior that draws


@pytest.mark.parametrize("kind", ["point", "codes"])
def test_what_needs_a_density_says_in_one_line_that_there_is_none(kind):
    q, prior = posterior(kind), StandardNormal((3,))
    asked = {
        "log_prob": lambda: q.log_prob(q.mean),
        "log_prob_of_noise": lambda: q.log_prob_of_noise(torch.empty(5, 0)),
        "kl_per_dimension": q.kl_per_dimension,
        "kl_to": lambda: q.kl_to(prior),
        "normal": q.normal,
    }
    for name, ask in asked.items():
        with pytest.raises(NoDensity, match=rf"^{type(q).__name__}\.{name}: .*no density[^\n]*$"):
            ask()
    for ask in (q.kl, lambda: q.rate(prior, q.mean)):
        with pytest.raises(NoDensity):
            ask()
    assert not q.has_density
    assert issubclass(NoDensity, LehrError)


def test_posteriors_stacked_under_vmap_give_what_each_gives_alone():
    def loss(mean, raw, noise):
        q = DiagonalGaussian.bounded(mean, raw, -1, 1)
        return (q.sample(noise).square().flatten(1).sum(1) + q.kl_to(StandardNormal((3,)))).sum()

    mean, raw, noise = draw((4, 5, 3), 0), 2 * draw((4, 5, 3), 1), draw((4, 5, 3), 2)
    gradients, values = torch.func.vmap(torch.func.grad_and_value(loss))(mean, raw, noise)
    for i in range(4):
        alone = mean[i].clone().requires_grad_()
        value = loss(alone, raw[i], noise[i])
        value.backward()
        torch.testing.assert_close(values[i], value)
        torch.testing.assert_close(gradients[i], alone.grad)
