"""VQAutoencoder against diffusers' VQModel."""

from __future__ import annotations

import torch

from lehr.models import VQAutoencoder


def small(**values) -> VQAutoencoder:
    torch.manual_seed(0)
    sizes = {"base_channels": 8, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4, "codebook_size": 16}
    return VQAutoencoder((3, 16, 16), **sizes, **values)


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
