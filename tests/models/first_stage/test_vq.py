"""VQAutoencoder against diffusers' VQModel."""

from __future__ import annotations

import torch

from lehr.models import VQAutoencoder
from lehr.posterior.codes import vectors


def small(**values) -> VQAutoencoder:
    torch.manual_seed(0)
    sizes = {"base_channels": 8, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4, "codebook_size": 16}
    return VQAutoencoder((3, 16, 16), **sizes | values)


def test_codes_and_images_are_those_of_diffusers():
    from diffusers import VQModel

    model = small(attention_levels=(1,))
    theirs = VQModel(
        block_out_channels=(8, 16), norm_num_groups=4, num_vq_embeddings=16, latent_channels=4,
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
    )  # fmt: skip
    theirs.load_state_dict(model.state_dict())
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        h = theirs.encode(2 * x - 1).latents
        codes, _, (_, _, indices) = theirs.quantize(h)
        q = model.encode(x)
        torch.testing.assert_close(q.mean, codes)
        assert torch.equal(q.indices.flatten(), indices)
        torch.testing.assert_close(2 * model.decode(q.mean) - 1, theirs.decode(h).sample)
    assert model.codebook.abs().max() <= 1 / 16


def test_the_charges_are_weighed_as_said():
    x = torch.rand(2, 3, 16, 16)
    plain, weighed = small().encode(x), small(codebook_weight=3.0, commitment_weight=0.5).encode(x)
    square = (plain.output - plain.codes).square().flatten(1).sum(1)
    torch.testing.assert_close(plain.charges(), {"codebook": square, "commitment": 0.25 * square})
    torch.testing.assert_close(weighed.charges(), {"codebook": 3 * square, "commitment": 1.5 * square})


def test_both_conventions_of_diffusers_are_a_choice_of_weights():
    """Means over latents, and beta on the other term (`legacy`): what its quantiser's loss is, and its gradients."""
    from diffusers.models.autoencoders.vae import VectorQuantizer

    n = 4 * 8 * 8  # latents
    for legacy, codebook_weight, commitment_weight in ((False, 1.0, 0.25), (True, 0.25, 4.0)):
        model = small(codebook_weight=codebook_weight / n, commitment_weight=commitment_weight)
        theirs = VectorQuantizer(16, 4, beta=0.25, legacy=legacy)
        theirs.embedding.load_state_dict(model.quantize["embedding"].state_dict())
        q = model.encode(torch.rand(2, 3, 16, 16))
        output = q.output.detach().requires_grad_()
        loss = theirs(output)[1]
        ours = torch.stack([charge.mean() for charge in q.charges().values()]).sum()
        torch.testing.assert_close(ours, loss)
        expected = torch.autograd.grad(loss, [output, theirs.embedding.weight])
        found = torch.autograd.grad(ours, [q.output, model.codebook])
        torch.testing.assert_close(found, expected)


def test_codes_that_begin_at_data_are_outputs_of_the_encoder():
    images = torch.rand(5, 3, 16, 16)
    model = small(codebook_start="data")
    with torch.no_grad():
        given = vectors(model.encode(images).output)
    before = model.codebook.detach().clone()
    model.start_codes(images, seed=0)
    places = [(given == code).all(1).nonzero().flatten().tolist() for code in model.codebook]
    assert all(len(place) == 1 for place in places)
    assert len({place[0] for place in places}) == 16
    assert len({place[0] // 64 for place in places}) == 5  # of all images
    again, other = small(codebook_start="data"), small(codebook_start="data")
    again.start_codes(images, seed=0)
    other.start_codes(images, seed=1)
    assert torch.equal(again.codebook, model.codebook)
    assert not torch.equal(other.codebook, model.codebook)
    few = small(codebook_start="data", codebook_size=100)
    few.start_codes(images[:1], seed=0)  # 64 positions
    assert int((few.codebook.abs() > 1 / 100).any(1).sum()) == 64
    plain = small()
    plain.start_codes(images, seed=0)
    assert torch.equal(plain.codebook, before)


def test_vectors_are_those_of_each_position_in_turn():
    output = torch.randn(3, 4, 2, 5)
    assert torch.equal(vectors(output)[1 * 10 + 1 * 5 + 3], output[1, :, 1, 3])
    assert vectors(output[:0]).shape == (0, 4)
    assert torch.equal(vectors(output[:, :, 0, 0]), output[:, :, 0, 0])
