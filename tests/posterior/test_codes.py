"""Vector-quantised latents, against brute force, hand counts and the gradients of the paper's equation 3."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.posterior.codes import Codes, perplexity

SHAPES = [(6, 4), (3, 4, 2, 5), (2, 4, 7)]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_position_has_the_code_that_brute_force_finds_nearest(shape):
    output, codebook = draw(*shape), draw(11, 4, seed=1)
    q = Codes.nearest(output, codebook)
    assert q.indices.shape == (shape[0], *shape[2:])
    for position in torch.cartesian_prod(*(torch.arange(n) for n in q.indices.shape)).view(-1, q.indices.ndim).tolist():
        vector = output.movedim(1, -1)[tuple(position)]
        distances = [float((vector - code).square().sum()) for code in codebook]
        index = int(q.indices[tuple(position)])
        assert index == distances.index(min(distances))
        assert torch.equal(q.mean.movedim(1, -1)[tuple(position)], codebook[index])


def test_the_nearest_code_does_not_hang_on_the_precision_of_the_network():
    """The product in bfloat16 would be off by a hundredth; these codes are a thousandth apart."""
    codebook = 1 + 1e-3 * torch.arange(8).view(8, 1)
    output = codebook.clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Codes.nearest(output, codebook).indices.tolist() == list(range(8))


def test_the_latent_is_the_code_exactly_also_far_from_the_output():
    output, codebook = torch.full((1, 1), 1e8), torch.tensor([[0.1]])
    assert Codes.nearest(output, codebook).mean.item() == codebook.item()


def test_in_a_narrow_network_latents_are_float32():
    q = Codes.nearest(draw(3, 4).bfloat16(), draw(5, 4, seed=1).bfloat16())
    assert q.mean.dtype == q.output.dtype == q.charges()["commitment"].dtype == torch.float32


def test_the_gradient_of_the_latent_goes_straight_through_to_the_output():
    output, codebook = draw(3, 4, 2, 2).requires_grad_(), draw(5, 4, seed=1).requires_grad_()
    upstream = draw(3, 4, 2, 2, seed=2)
    (Codes.nearest(output, codebook).sample(torch.empty(3, 0)) * upstream).sum().backward()
    torch.testing.assert_close(output.grad, upstream)
    assert codebook.grad is None


def test_the_charges_of_hand_written_codes():
    output = torch.tensor([[1.0, 0.0], [4.0, 3.0]])
    codebook = torch.tensor([[0.0, 0.0], [4.0, 5.0]])
    charges = Codes.nearest(output, codebook, commitment_weight=0.5).charges()
    assert charges["codebook"].tolist() == [1.0, 4.0]
    assert charges["commitment"].tolist() == [0.5, 2.0]


def test_the_charges_of_a_map_are_summed_over_its_positions():
    output, codebook = draw(3, 4, 2, 5), draw(11, 4, seed=1)
    q = Codes.nearest(output, codebook)
    distances = torch.cdist(output.movedim(1, -1).reshape(-1, 4), codebook).square().min(1).values.view(3, -1).sum(1)
    torch.testing.assert_close(q.charges()["codebook"], distances)
    torch.testing.assert_close(q.charges()["commitment"], 0.25 * distances)


def test_the_codebook_learns_from_its_charge_and_the_encoder_from_commitment():
    output, codebook = draw(6, 4).requires_grad_(), draw(3, 4, seed=1).requires_grad_()
    q = Codes.nearest(output, codebook, commitment_weight=0.25)
    charges = q.charges()
    codebook_gradients = torch.autograd.grad(
        charges["codebook"].sum(), [output, codebook], retain_graph=True, allow_unused=True
    )
    assert codebook_gradients[0] is None
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for vector, index in zip(output.detach(), q.indices.tolist(), strict=True):
        expected[index] += 2 * (codebook.detach()[index] - vector)
    torch.testing.assert_close(codebook_gradients[1], expected)

    commitment_gradients = torch.autograd.grad(charges["commitment"].sum(), [output, codebook], allow_unused=True)
    assert commitment_gradients[1] is None
    torch.testing.assert_close(commitment_gradients[0], 0.25 * 2 * (output - codebook[q.indices]).detach())


def test_perplexity_against_a_hand_count():
    codebook = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    q = Codes.nearest(torch.tensor([[[0.1, 0.9, 1.1]], [[0.2, 1.2, 3.3]]]), codebook)
    assert q.indices.tolist() == [[0, 1, 1], [0, 1, 3]]
    assert q.usage.tolist() == [2, 3, 0, 1]
    entropy = -(2 / 6 * math.log(2 / 6) + 3 / 6 * math.log(3 / 6) + 1 / 6 * math.log(1 / 6))
    assert q.perplexity.item() == pytest.approx(math.exp(entropy))


def test_perplexity_is_the_number_of_codes_used_alike():
    assert perplexity(torch.tensor([5, 5, 0, 5])).item() == pytest.approx(3)
    assert perplexity(torch.tensor([0, 7, 0])).item() == 1


def test_usage_of_batches_adds_up():
    output, codebook = draw(6, 4, 3, 3), draw(11, 4, seed=1)
    q = Codes.nearest(output, codebook)
    assert torch.equal(q[:2].usage + q[2:].usage, q.usage)
    assert q.usage.sum() == 6 * 9


@pytest.mark.parametrize(("output", "codebook"), [((3, 4), (5, 3)), ((3,), (5, 3)), ((3, 4), (4,))])
def test_shapes_that_do_not_fit_are_named(output, codebook):
    with pytest.raises(ValueError, match=r"expected an output \(b, k, \.\.\.\) and a codebook \(K, k\), got"):
        Codes.nearest(torch.zeros(output), torch.zeros(codebook))
