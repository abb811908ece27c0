"""The fully connected model against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lehr.models.mlp import MLP


def test_parameters_of_784_400_20():
    # encoder 784 x 400 + 400, 400 x 40 + 40; decoder 20 x 400 + 400, 400 x 784 + 784
    model = MLP((1, 28, 28), latent_dim=20, hidden=(400,))
    assert sum(p.numel() for p in model.parameters()) == 314_000 + 16_040 + 8_400 + 314_384


def test_the_decoder_has_the_hidden_layers_in_reverse():
    model = MLP((1, 2, 3), latent_dim=2, hidden=(11, 7))
    widths = [m.out_features for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [11, 7, 4, 7, 11, 6]


@pytest.mark.parametrize("hidden", [(), (5,), (5, 7)])
def test_the_forward_pass_is_its_formula(hidden):
    torch.manual_seed(0)
    model = MLP((2, 3, 2), latent_dim=3, hidden=hidden, activation="relu").double()
    weights = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in model.modules() if hasattr(m, "weight")]
    layers = len(hidden) + 1

    def run(h: np.ndarray, stack: list) -> np.ndarray:
        for i, (weight, bias) in enumerate(stack):
            h = h @ weight.T + bias
            h = np.maximum(h, 0) if i < len(stack) - 1 else h  # none after the last layer
        return h

    x, z = torch.randn(4, 2, 3, 2).double(), torch.randn(4, 3).double()
    code = run(x.numpy().reshape(4, -1), weights[:layers])
    posterior = model.encode(x)
    np.testing.assert_allclose(posterior.mean.detach().numpy(), code[:, :3], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(posterior.logvar.detach().numpy(), code[:, 3:], rtol=1e-12, atol=1e-14)
    image = run(z.numpy(), weights[layers:]).reshape(4, 2, 3, 2)
    np.testing.assert_allclose(model.decode(z).detach().numpy(), image, rtol=1e-12, atol=1e-14)
