"""A module of the user's own as a model: what it may give, what is refused, and that its weights stay its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lehr.models import MLP, Autoencoder, wrap
from lehr.objective.elbo import elbo_terms
from lehr.objective.likelihood import Bernoulli
from lehr.posterior import Codes, DiagonalGaussian, FixedVariance, Point

SHAPE = (1, 4, 4)


class Mine(nn.Module):
    """Convolutions to a latent map (2, 2, 2), with what only training has; `give` says what is made of them."""

    def __init__(self, give: str = "pair") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.give = give
        self.down = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(1, 4, 2, 2), nn.BatchNorm2d(4))
        self.up = nn.ConvTranspose2d(2, 1, 2, 2)
        self.codebook = nn.Parameter(torch.randn(5, 2))

    def encode(self, x: Tensor) -> object:
        mean, other = self.down(x).chunk(2, 1)
        return {
            "pair": lambda: (mean, other),
            "tensor": lambda: mean,
            "flat": lambda: mean.flatten(1),
            "fixed": lambda: FixedVariance(mean, 0.5),
            "codes": lambda: Codes.nearest(mean, self.codebook),
        }[self.give]()

    def decode(self, z: Tensor) -> Tensor:
        return self.up(z.view(-1, 2, 2, 2) if z.ndim == 2 else z)


def images(n: int = 6) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("give", "kind", "latent_shape"),
    [
        ("pair", DiagonalGaussian, (2, 2, 2)),
        ("tensor", Point, (2, 2, 2)),
        ("flat", Point, (8,)),
        ("fixed", FixedVariance, (2, 2, 2)),
        ("codes", Codes, (2, 2, 2)),
    ],
)
def test_what_a_module_gives_becomes_a_posterior_of_its_kind(give, kind, latent_shape):
    module = Mine(give).eval()
    model = wrap(module, SHAPE)
    assert isinstance(model, Autoencoder)
    assert model.image_shape == SHAPE
    assert model.latent_shape == latent_shape
    posterior = model.encode(images())
    assert type(posterior) is kind
    mean = module.down(images()).chunk(2, 1)[0].view(6, *latent_shape)
    torch.testing.assert_close(posterior.output if isinstance(posterior, Codes) else posterior.mean, mean)
    torch.testing.assert_close(model.decode(posterior.mean), module.decode(posterior.mean))


def test_a_log_variance_is_bounded_as_that_of_a_vae():
    module = Mine()
    with torch.no_grad():
        module.down[1].bias[2:] = 1000.0
    module.down[2] = nn.Identity()
    posterior = wrap(module.eval(), SHAPE).encode(images())
    assert torch.equal(posterior.logvar, torch.full_like(posterior.logvar, 10.0))
    assert posterior.diagnostics()["clamped_share"] == 1


def test_the_module_is_as_it_was_after_it_was_looked_at():
    module = Mine().train()
    module.up.eval()
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    model = wrap(module, SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert module.down[0].training
    assert not module.up.training
    model.start_at(torch.ones(SHAPE))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name  # the running averages of the normalisation too
    assert all(parameter.grad is None for parameter in module.parameters())


def test_its_weights_are_found_below_module_and_trained():
    module = Mine("fixed")
    model = wrap(module, SHAPE)
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"module"}
    posterior, parameters = model(images(), torch.randn(6, 2, 2, 2))
    elbo_terms(images(), posterior, parameters, Bernoulli()).loss(1.0).mean().backward()
    assert all(p.grad is not None for p in (*module.down.parameters(), *module.up.parameters()))


def test_images_are_converted_to_the_precision_of_the_module_and_latents_are_float32_at_least():
    model = wrap(Mine("tensor").bfloat16().eval(), SHAPE)
    assert model.dtype == torch.bfloat16
    assert model.encode(images()).mean.dtype == torch.float32
    assert wrap(Mine().double(), SHAPE).encode(images()).mean.dtype == torch.float64


def test_a_start_of_its_own_is_kept():
    class Starts(Mine):
        def start_at(self, parameters: Tensor) -> None:
            self.started = parameters

    model = wrap(Starts(), SHAPE)
    model.start_at(torch.full(SHAPE, 3.0))
    assert torch.equal(model.module.started, torch.full(SHAPE, 3.0))


def test_an_autoencoder_is_given_back_as_it_is():
    model = MLP(SHAPE, 3)
    assert wrap(model, SHAPE, (3,)) is model
    with pytest.raises(ValueError, match=r"MLP: has image_shape=\(1, 4, 4\), expected \(3, 8, 8\)"):
        wrap(model, (3, 8, 8))
    with pytest.raises(ValueError, match=r"MLP: has latent_shape=\(3,\), expected \(4,\)"):
        wrap(model, SHAPE, (4,))


class Odd(Mine):
    """Gives what it is told."""

    def __init__(self, encoded: object = None, decoded: object = None) -> None:
        super().__init__("tensor")
        self.encoded, self.decoded = encoded, decoded

    def encode(self, x: Tensor) -> object:
        return super().encode(x) if self.encoded is None else self.encoded

    def decode(self, z: Tensor) -> object:
        return super().decode(z) if self.decoded is None else self.decoded


@pytest.mark.parametrize(
    ("module", "image_shape", "line"),
    [
        (nn.Linear(2, 2), SHAPE, "Linear: must have encode(x) and decode(z)"),
        (Mine(), (3, 4, 4), "Mine.encode: fails on a tensor of (1, 3, 4, 4) (RuntimeError: Given groups=1"),
        (Mine(), (1, 5, 5), "Mine.decode: expected (1, 1, 5, 5) of one latent, got (1, 1, 4, 4)"),
        (Odd(encoded="text"), SHAPE, "Odd.encode: expected a posterior, a tensor, or mean and log-variance, got str"),
        (Odd(encoded=(torch.ones(1, 2), torch.ones(1, 3))), SHAPE, "differ in shape, (1, 2) and (1, 3)"),
        (Odd(encoded=torch.ones(4)), SHAPE, "expected latents (b, d) or (b, zc, zh, zw), got (4,) of one image"),
        (Odd(encoded=torch.ones(3, 2)), SHAPE, "expected latents (b, d) or (b, zc, zh, zw), got (3, 2) of one image"),
        (Odd(encoded=torch.ones(1, 3)), SHAPE, "Odd.decode: fails on a tensor of (1, 3) (RuntimeError: "),
        (Odd(decoded=torch.ones(1, 4, 4)), SHAPE, "Odd.decode: expected (1, 1, 4, 4) of one latent, got (1, 4, 4)"),
        (Odd(decoded=[1]), SHAPE, "Odd.decode: expected (1, 1, 4, 4) of one latent, got list"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(module, image_shape, line):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole line is compared
        wrap(module, image_shape)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_latent_shape_than_the_one_named_is_an_error():
    assert wrap(Mine(), SHAPE, (2, 2, 2)).latent_shape == (2, 2, 2)
    with pytest.raises(ValueError, match=r"Mine: has latent_shape=\(2, 2, 2\), expected \(8,\)"):
        wrap(Mine(), SHAPE, (8,))


class Map(nn.Module):
    """A module of anyone's own with a latent map: (b, 2, h / 2, w / 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 2, stride=2), nn.ConvTranspose2d(2, 3, 2, stride=2)

    def encode(self, x):
        return self.down(x).chunk(2, dim=1)

    def decode(self, z):
        return self.up(z)


def test_a_module_with_a_latent_map_is_as_good_as_any():
    wrapped, x = wrap(Map(), (3, 8, 6)), torch.rand(2, 3, 8, 6)
    assert wrapped.latent_shape == (2, 4, 3)
    q, y = wrapped(x, torch.zeros(2, 2, 4, 3))
    mean, logvar = wrapped.module.encode(x)
    assert torch.equal(q.mean, mean)
    assert torch.equal(q.logvar, logvar)
    assert torch.equal(y, wrapped.module.decode(mean))
    assert q.kl().shape == (2,)


def test_losses_are_balanced_at_the_last_layer_of_its_decoder_or_at_the_one_it_names():
    module = Mine()
    assert wrap(module, SHAPE).last_layer is None
    module.last_layer = module.up.weight
    assert wrap(module, SHAPE).last_layer is module.up.weight
    named = Mine()
    named.decoder = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ConvTranspose2d(2, 1, 2, 2))
    assert wrap(named, SHAPE).last_layer is named.decoder[1].weight
