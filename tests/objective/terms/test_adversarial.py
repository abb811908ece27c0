"""The discriminator and what it does to losses, against taming's and latent diffusion's code written down again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lehr import randomness
from lehr.models import Components
from lehr.models.autoencoder import Autoencoder
from lehr.objective import ELBO, AnnealedKL, Laplace, StandardNormalPrior
from lehr.objective.step import AUTOENCODER, StepInputs
from lehr.objective.terms import Adversarial, PatchGAN, TrainingLength, WithTerms
from lehr.objective.terms.balance import adaptive_weight
from lehr.objective.terms.gan_losses import gradient_penalty
from lehr.posterior import DiagonalGaussian

B, SHAPE = 4, (3, 24, 24)
LENGTH = TrainingLength(total_steps=40, steps_per_epoch=10, images_per_epoch=40, images_per_step=4)


def taming(channels, width, layers, norm):
    """`NLayerDiscriminator.__init__`, taming/modules/discriminator/model.py."""
    with_bias = norm is None
    sequence = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    times = 1
    for n in range(1, layers + 1):
        before, times = times, min(2**n, 8)
        stride = 2 if n < layers else 1
        sequence += [nn.Conv2d(width * before, width * times, 4, stride, 1, bias=with_bias)]
        sequence += [norm(width * times)] if norm else []
        sequence += [nn.LeakyReLU(0.2)]
    return nn.Sequential(*sequence, nn.Conv2d(width * times, 1, 4, 1, 1))


@pytest.mark.parametrize(("norm", "module", "count"), [("batch", nn.BatchNorm2d, 2_765_633), ("none", None, 2_764_737)])
def test_the_discriminator_is_taming_s(norm, module, count):
    with randomness.seeded(0, "weights"):
        ours, theirs = PatchGAN((3, 32, 32), norm=norm), taming(3, 64, 3, module)
    assert sum(p.numel() for p in ours.parameters()) == count
    assert [name.removeprefix("main.") for name in ours.state_dict()] == list(theirs.state_dict())
    theirs.load_state_dict(ours.main.state_dict())
    x = randomness.normal(0, "x", 0, (2, 3, 32, 32))
    torch.testing.assert_close(ours(x), theirs(x))
    for module in ours.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 1000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_a_logit_is_of_70_pixels():
    x = torch.zeros(1, 3, 128, 128, requires_grad=True)
    logits = PatchGAN((3, 128, 128), channels=2, norm="none")(x)
    logits[0, 0, 6, 6].backward()
    seen = x.grad.abs().sum((0, 1)) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == 70


@pytest.mark.parametrize(("side", "layers", "said"), [(16, 3, "say layers=2 or less"), (4, 2, "use larger images")])
def test_images_too_small_for_the_layers_are_refused(side, layers, said):
    with pytest.raises(ValueError, match=rf"layers={layers}: leaves nothing of images of {side} pixels; {said}"):
        PatchGAN((3, side, side), layers)
    assert PatchGAN((1, 24, 24), 3, 2)(torch.zeros(1, 1, 24, 24)).shape == (1, 1, 1, 1)


def test_spectral_norm_bounds_the_weights():
    network = PatchGAN(SHAPE, channels=8, norm="spectral")
    for _ in range(50):
        network(torch.zeros(1, *SHAPE))
    for module in network.main:
        if isinstance(module, nn.Conv2d):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


class Small(Autoencoder):
    def __init__(self):
        super().__init__(SHAPE, (2, 24, 24))
        with randomness.seeded(0, "weights"):
            self.encoder = nn.Conv2d(3, 4, 3, padding=1)
            self.decoder = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 3, padding=1))

    def encode(self, x):
        return DiagonalGaussian(*self.encoder(x).chunk(2, dim=1))

    def decode(self, z):
        return self.decoder(z)


def term_of(**options):
    with randomness.seeded(0, "terms"):
        term = Adversarial(SHAPE, **{"channels": 4, "start": 0, "unit": "step", **options})
    term.begin(LENGTH, "adversarial")
    return term


def step(term, number=39):
    """A step: its result, the model, and images and reconstructions in [-1, 1]."""
    model, kl = Small(), AnnealedKL(0.0, hold=0, warmup=0)
    prior, objective = StandardNormalPrior(model.latent_shape, model.image_shape), WithTerms(ELBO(), {"gan": term})
    images = randomness.uniform(0, "x", 0, (B, *SHAPE))
    noise = randomness.normal(0, "noise", 0, (B, 2, 24, 24))
    given = StepInputs(images, lambda shape: noise, kl.values(number), number, B, 50, 1, lambda sums: sums)
    result = objective.step(given, Components(model, Laplace(0.5), prior, kl, objective))
    return result, model, 2 * images - 1, 2 * model.decode(model.encode(images).sample(noise)).float() - 1


def test_the_losses_are_those_of_latent_diffusion():
    """`LPIPSWithDiscriminator.forward` with logvar = 0 and no LPIPS, ldm/modules/losses/contperceptual.py."""
    term = term_of(weight=0.5)
    result, model, real, fake = step(term)
    layer = model.last_layer
    nll = (real - fake).abs().sum() / B
    g_loss = -term.discriminator(fake).mean()
    nll_grad, g_grad = (torch.autograd.grad(loss, layer, retain_graph=True)[0] for loss in (nll, g_loss))
    d_weight = 0.5 * torch.clamp(nll_grad.norm() / (g_grad.norm() + 1e-4), 0.0, 1e4).detach()
    (nll + d_weight * g_loss).backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    numbers = result.numbers()
    assert numbers["gan"] == pytest.approx(g_loss.item(), rel=1e-5)
    assert float(result.terms["gan"].weight) == pytest.approx(d_weight.item(), rel=1e-4)
    assert 0.5 * numbers["adaptive_weight"] == pytest.approx(d_weight.item(), rel=1e-4)
    assert result.objective() == pytest.approx((nll + d_weight * g_loss).item(), rel=1e-5)

    logits_real, logits_fake = term.discriminator(real), term.discriminator(fake.detach())
    hinge = 0.5 * (F.relu(1.0 - logits_real).mean() + F.relu(1.0 + logits_fake).mean())
    assert result.objective("discriminator") == pytest.approx(hinge.item(), rel=1e-5)
    term.zero_grad()
    hinge.backward()
    of_weights = [p.grad.clone() for p in term.discriminator.parameters()]
    term.zero_grad()
    result, model, *_ = step(term)
    (result.total / B).backward()
    for found, known in zip((p.grad for p in model.parameters() if p.grad is not None), expected, strict=True):
        torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-4)
    for weight, known in zip(term.discriminator.parameters(), of_weights, strict=True):
        torch.testing.assert_close(weight.grad, known, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("norm", ["batch", "none", "spectral"])
def test_the_discriminator_is_a_constant_in_the_other_s_loss(norm):
    term = term_of(norm=norm)
    result, model, *_ = step(term)
    result.losses[AUTOENCODER].backward(retain_graph=True)
    assert all(p.grad is None for p in term.parameters())
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    result.losses["discriminator"].backward()
    assert all(p.grad is not None for p in term.parameters())
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_the_discriminator_remembers_is_of_its_own_pass_alone():
    term = term_of()
    step(term)
    found = [b for name, b in term.named_buffers() if name.endswith("num_batches_tracked")]
    assert found == [torch.tensor(2)] * 3  # images, and reconstructions


@pytest.mark.parametrize("loss", ["hinge", "vanilla", "relativistic"])
def test_the_term_changes_the_gradient_of_the_encoder(loss):
    gradients = []
    for options in ({"loss": loss}, {"start": 39, "head_start": 39, "loss": loss}):
        result, model, *_ = step(term_of(**options), number=38)
        result.losses[AUTOENCODER].backward()
        gradients.append(model.encoder.weight.grad)
    assert not torch.allclose(*gradients, rtol=1e-2)


def test_vanilla_and_relativistic_losses():
    for loss in ("vanilla", "relativistic"):
        term = term_of(loss=loss, norm="none", adaptive=False)
        result, _, real, fake = step(term)
        a, b = term.discriminator(real), term.discriminator(fake)
        g = F.softplus(-b) if loss == "vanilla" else F.softplus(a - b)
        d = 0.5 * (F.softplus(-a) + F.softplus(b)) if loss == "vanilla" else F.softplus(b - a)
        assert result.numbers()["gan"] == pytest.approx(g.mean().item(), rel=1e-5)
        assert result.objective("discriminator") == pytest.approx(d.mean().item(), rel=1e-5)
    assert 0 <= result.numbers()["discriminator_accuracy"] <= 1


def test_the_weight_is_finite_whatever_gradients_are():
    zero, one, nan = torch.tensor(0.0), torch.tensor(1.0), torch.tensor(float("nan"))
    assert adaptive_weight(one, zero) == 1e4
    assert adaptive_weight(zero, zero) == 0
    assert adaptive_weight(one * float("inf"), one) == 1e4
    assert adaptive_weight(nan, one) == 0
    term = term_of()
    with torch.no_grad():
        term.discriminator.main[-1].weight.zero_()  # of which reconstructions get no gradient
    result, model, *_ = step(term)
    assert result.numbers()["adaptive_weight"] == 1e4
    result.total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_largest_weight_of_means_over_pixel_values_is_that_many_times_as_large_of_sums():
    fidelity, adversarial = torch.tensor(3.0), torch.tensor(1e-3)  # of sums; of means a 1,728th
    n = 3 * 24 * 24
    theirs = (fidelity / n / (adversarial + 1e-4)).clamp(0, 1e4)
    assert adaptive_weight(fidelity, adversarial, most=1e4 * n).item() == pytest.approx(n * theirs.item())
    assert step(term_of(adaptive_most=2.0))[0].numbers()["adaptive_weight"] == 2.0


def test_the_penalty_is_the_squared_gradient_of_a_logit():
    weight = torch.randn(3, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight.requires_grad_()
    x = torch.rand(B, *SHAPE, dtype=torch.float64, requires_grad=True)
    logits = (0.5 * weight * x.square()).flatten(1).sum(1)[:, None]  # whose gradient is weight * x
    penalty = gradient_penalty(logits, x)
    torch.testing.assert_close(penalty, (weight * x).float().square().flatten(1).sum(1))
    penalty.sum().backward()
    torch.testing.assert_close(weight.grad, (2 * weight * x.square()).sum(0), rtol=1e-5, atol=1e-5)


def test_penalties_are_in_the_loss_of_the_discriminator_in_float32():
    term = term_of(loss="relativistic", norm="none", r1=2.0, r2=4.0)
    with torch.autocast("cpu", torch.bfloat16):
        result, model, real, fake = step(term)
    numbers = result.numbers()
    expected = []
    for images in (real, fake.detach().float()):
        images.requires_grad_()
        logits = term.discriminator(images)
        (gradient,) = torch.autograd.grad(logits.sum(), images)
        expected.append(gradient.square().sum().item() / B / logits[0].numel())
    assert numbers["discriminator_r1"] == pytest.approx(expected[0], rel=1e-5)
    assert numbers["discriminator_r2"] == pytest.approx(expected[1], rel=1e-5)
    logits, of_fake = term.discriminator(real), term.discriminator(fake.float())
    loss = F.softplus(of_fake - logits).mean().item() + expected[0] + 2 * expected[1]
    assert result.objective("discriminator") == pytest.approx(loss, rel=1e-5)
    result.total.backward()
    assert all(p.grad.isfinite().all() for p in [*term.parameters(), *model.decoder.parameters()])


def test_lecam_draws_logits_to_the_running_mean_of_the_others():
    term = term_of(lecam=0.5, norm="none", lecam_decay=0.75)
    first = step(term)[0].numbers()
    means = first["discriminator_logit_real"], first["discriminator_logit_fake"]
    assert term.mean_logits.tolist() == pytest.approx(means, rel=1e-5)
    with torch.no_grad():
        term.discriminator.main[-1].bias += 1
    result, _, real, fake = step(term)
    remembered = [0.75 * mean + 0.25 * (mean + 1) for mean in means]
    assert term.mean_logits.tolist() == pytest.approx(remembered, rel=1e-5)
    a, b = term.discriminator(real), term.discriminator(fake)
    regulariser = F.relu(a - remembered[1]).square().mean() + F.relu(remembered[0] - b).square().mean()
    assert result.numbers()["discriminator_lecam"] == pytest.approx(regulariser.item(), rel=1e-4)
    hinge = 0.5 * (F.relu(1 - a).mean() + F.relu(1 + b).mean())
    assert result.objective("discriminator") == pytest.approx((hinge + 0.5 * regulariser).item(), rel=1e-4)
    assert {"mean_logits", "batches"} <= term.state_dict().keys()
    assert term.to(torch.bfloat16).mean_logits.dtype == torch.float32  # where a share of 0.001 would change nothing
    assert term.discriminator.main[0].weight.dtype == torch.bfloat16


def test_with_a_head_start_it_learns_before_it_counts():
    term = term_of(start=8, head_start=3)
    assert "gan" not in step(term, 4)[0].terms
    alone = step(term, 4)[0].losses[AUTOENCODER].item()
    before = step(term, 7)[0]
    assert before.losses[AUTOENCODER].item() == alone
    assert before.losses["discriminator"].requires_grad
    assert before.terms["gan"].weight == 0
    assert "adaptive_weight" in step(term, 8)[0].terms


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"adaptive": True, "per": "pixel"}, "adaptive=true and per=pixel: .* say per=example or adaptive=false"),
        ({"adaptive": True, "per": "gradient"}, "adaptive=true and per=gradient: .* say per=example"),
        ({"r2": 10.0}, "r2=10 and norm=batch: the penalty is of the logits of one image"),
        ({"loss": "wgan"}, "loss='wgan': expected one of hinge, vanilla, relativistic"),
    ],
)
def test_values_that_cannot_be_together_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        term_of(**values)
