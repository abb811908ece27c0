"""What every model must do, for images of any size."""

from __future__ import annotations

import copy

import pytest
import torch

from lehr.models.conv import Conv
from lehr.models.linear import Linear
from lehr.models.mlp import MLP
from lehr.models.vae import ACTIVATIONS, VAE, nonlinearity
from lehr.objective.elbo import elbo_terms
from lehr.objective.likelihood import Bernoulli

IMAGES = [(1, 1, 1), (3, 1, 5), (3, 7, 13), (1, 28, 28), (2, 50, 37)]


def small(kind: str, image_shape: tuple[int, int, int] = (1, 6, 5), latent_dim: int = 4, seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    if kind == "mlp":
        return MLP(image_shape, latent_dim, hidden=(12, 9), activation="tanh")
    if kind == "conv":
        return Conv(image_shape, latent_dim, channels=(4, 6), hidden=10)
    return Linear(image_shape, latent_dim)


def images(n: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


KINDS = pytest.mark.parametrize("kind", ["mlp", "conv", "linear"])


@KINDS
@pytest.mark.parametrize("image_shape", IMAGES)
def test_images_of_any_size_come_back_in_their_size_and_reach_every_parameter(kind, image_shape):
    model = small(kind, image_shape)
    x, noise = images(3, image_shape), torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    posterior, parameters = model(x, noise)
    assert posterior.mean.shape == posterior.logvar.shape == (3, *model.latent_shape) == (3, 4)
    assert parameters.shape == x.shape
    elbo_terms(x, posterior, parameters, Bernoulli()).loss(1.0).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@KINDS
def test_forward_decodes_the_sample_of_its_noise(kind):
    model = small(kind)
    x, noise = images(3, (1, 6, 5)), torch.randn(3, 4)
    posterior, parameters = model(x, noise)
    torch.testing.assert_close(parameters, model.decode(posterior.mean + posterior.var.sqrt() * noise))
    assert torch.equal(posterior.mean, model.encode(x).mean)


@KINDS
def test_an_example_does_not_depend_on_its_batch(kind):
    model = small(kind).double()
    x, z = images(5, (1, 6, 5)), torch.randn(5, 4)
    alone = torch.cat([model.encode(x[i : i + 1]).mean for i in range(5)])
    torch.testing.assert_close(model.encode(x).mean, alone)
    torch.testing.assert_close(model.decode(z), torch.cat([model.decode(z[i : i + 1]) for i in range(5)]))


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_log_variances_stay_within_their_bounds(kind):
    model = small(kind)
    model.logvar_min, model.logvar_max = -0.01, 0.01
    posterior = model.encode(1000 * images(8, (1, 6, 5)))
    assert posterior.logvar.min() >= -0.0100001
    assert posterior.logvar.max() <= 0.0100001
    assert 0 < posterior.clamped_share() <= 1
    assert (posterior.raw_logvar.abs() > 0.01).float().mean() == posterior.clamped_share()


@KINDS
def test_a_converted_model_computes_in_its_precision_and_answers_in_float32_at_least(kind):
    model = small(kind)
    x, noise = images(4, (1, 6, 5)), torch.randn(4, 4)
    posterior, parameters = model(x, noise)

    double = copy.deepcopy(model).double()
    wide, wide_parameters = double(x, noise)  # float32 images are welcome
    assert wide.mean.dtype == wide.logvar.dtype == wide_parameters.dtype == torch.float64
    torch.testing.assert_close(wide.mean.float(), posterior.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(wide_parameters.float(), parameters, rtol=1e-5, atol=1e-5)

    narrow_model = copy.deepcopy(model).bfloat16()
    assert narrow_model.dtype == torch.bfloat16
    narrow, narrow_parameters = narrow_model(x, noise)
    assert narrow.mean.dtype == narrow.logvar.dtype == narrow.kl().dtype == torch.float32
    assert narrow_parameters.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.mean, posterior.mean, rtol=0.05, atol=0.05)
    torch.testing.assert_close(narrow_parameters.float(), parameters, rtol=0.1, atol=0.1)


@KINDS
def test_models_stacked_under_vmap_give_what_each_gives_alone(kind):
    models = [small(kind, seed=seed).double() for seed in range(3)]
    x, noise = images(4, (1, 6, 5)).double(), torch.randn(3, 4, 4).double()
    likelihood = Bernoulli()
    params, buffers = torch.func.stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")

    def loss(params, buffers, noise):
        posterior, parameters = torch.func.functional_call(skeleton, (params, buffers), (x, noise))
        return elbo_terms(x, posterior, parameters, likelihood).loss(0.5).mean()

    gradients, losses = torch.func.vmap(torch.func.grad_and_value(loss))(params, buffers, noise)
    for i, model in enumerate(models):
        posterior, parameters = model(x, noise[i])
        alone = elbo_terms(x, posterior, parameters, likelihood).loss(0.5).mean()
        alone.backward()
        torch.testing.assert_close(losses[i], alone)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][i], parameter.grad)


def test_a_latent_map_has_its_mean_in_the_first_half_of_the_channels():
    model = VAE(torch.nn.Identity(), torch.nn.Identity(), (4, 2, 3), (2, 2, 3))
    model.scale = torch.nn.Parameter(torch.ones(()))  # a model has a precision because it has a parameter
    x = images(5, (4, 2, 3))
    posterior = model.encode(x)
    assert torch.equal(posterior.mean, x[:, :2])
    assert torch.equal(posterior.logvar, x[:, 2:])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_activation_is_the_one_it_is_named_for(name):
    x = torch.linspace(-2, 2, 9)
    torch.testing.assert_close(nonlinearity(name)(x), getattr(torch.nn.functional, name)(x))


def test_an_unknown_activation_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"model.activation='swish'.*relu.*silu"):
        nonlinearity("swish")


def test_networks_that_are_handed_over_keep_their_weights():
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(30, 8))
    decoder = torch.nn.Sequential(torch.nn.Linear(4, 30), torch.nn.Unflatten(1, (1, 6, 5)))
    before = copy.deepcopy((encoder.state_dict(), decoder.state_dict()))
    model = VAE(encoder, decoder, (1, 6, 5), (4,))
    for network, weights in zip((model.encoder, model.decoder), before, strict=True):
        for name, weight in network.state_dict().items():
            assert torch.equal(weight, weights[name]), name


@KINDS
def test_the_models_of_this_room_start_within_the_bounds_of_glorot(kind):
    for layer in small(kind, (1, 28, 28), latent_dim=16).modules():
        if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            continue
        field = layer.weight[0, 0].numel()
        outputs, inputs = field * layer.weight.shape[0], field * layer.weight.shape[1]
        limit = (6 / (inputs + outputs)) ** 0.5  # Glorot & Bengio 2010, equation 16
        assert layer.weight.abs().max() <= limit
        assert layer.weight.abs().max() > 0.8 * limit
        assert not layer.bias.any()
