"""The distance of a network's features: closed forms, the encoder of a run, and a network of one's own."""

from __future__ import annotations

import sys

import pytest
import torch
from compared import compared, images, term_inputs

from lehr.config.build import build
from lehr.errors import ConfigError
from lehr.objective.terms import FeatureDistance, LossTerm
from lehr.run.directory import RunDirectory
from lehr.run.model_files import read_model

SHAPE = (3, 8, 12)


def network():
    """A copy of the pixels, times 2, and then their negative."""
    first, second = (torch.nn.Conv2d(3, 3, 1, bias=False) for _ in range(2))
    with torch.no_grad():
        for layer, factor in ((first, 2.0), (second, -1.0)):
            layer.weight.copy_(factor * torch.eye(3)[:, :, None, None])
    return torch.nn.Sequential(first, torch.nn.Dropout(), second)


@pytest.mark.parametrize("b", [1, 2])
def test_raw_features_are_compared_by_their_mean_square(b):
    x, y = images(b, SHAPE, "x"), images(b, SHAPE, "y")
    error = (x - y).square().flatten(1).mean(1)
    for layers, factor in (((), 4), (("0",), 4), (("0", "2"), 8)):
        term = FeatureDistance(SHAPE, layers, scale="raw").use(network()).train()
        torch.testing.assert_close(compared(term, x, y), factor * error)


def test_normalised_features_are_compared_by_their_angle():
    x, y = images(2, SHAPE, "x"), images(2, SHAPE, "y")
    cosine = torch.nn.functional.cosine_similarity(x, y)
    expected = (2 - 2 * cosine).flatten(1).mean(1)
    torch.testing.assert_close(compared(FeatureDistance(SHAPE).use(network()), x, y), expected)
    assert compared(FeatureDistance(SHAPE).use(network()), x, 3 * x).abs().max() < 1e-6
    flat = FeatureDistance(SHAPE).use(torch.nn.Flatten())  # without positions
    cosine = torch.nn.functional.cosine_similarity(x.flatten(1), y.flatten(1))
    torch.testing.assert_close(compared(flat, x, y), 2 - 2 * cosine)


def test_identical_and_empty_features_have_a_finite_gradient_and_the_network_none():
    term = FeatureDistance(SHAPE, ("0",)).use(network())
    x = images(1, SHAPE)
    for same in (x, torch.zeros_like(x)):
        y = same.clone().requires_grad_()
        compared(term, same, y).sum().backward()
        assert y.grad.isfinite().all()
    y = images(1, SHAPE, "y").requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = term(term_inputs(x, y)).value
    assert value.dtype == torch.float32
    value.sum().backward()
    assert y.grad.abs().sum() > 0
    assert term.network[0].weight.grad is None
    assert not list(term.parameters())


def test_layers_that_there_are_not_or_that_say_nothing_of_an_image_are_refused():
    with pytest.raises(ConfigError, match=r"layers: there is no conv1 in Sequential; it has 0, 1, 2$"):
        FeatureDistance(SHAPE, ("conv1",)).use(network())
    whole = torch.nn.Sequential(torch.nn.Flatten(0), torch.nn.Softmax(0))
    with pytest.raises(ConfigError, match="gives no features of each image"):
        compared(FeatureDistance(SHAPE).use(whole), images(2, SHAPE), images(2, SHAPE))


def test_a_network_of_one_s_own_is_a_class_and_a_line(tmp_path, monkeypatch):
    (tmp_path / "ours13.py").write_text(
        "import torch\nfrom lehr.objective.terms import FeatureDistance\n"
        "class Ours(FeatureDistance):\n"
        "    def __init__(self, image_shape, scale='raw', **options):\n"
        "        super().__init__(image_shape, scale=scale, **options)\n"
        "        self.use(torch.nn.Flatten())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "ours13.Ours", "weight": 2.0, "per": "example"}
    given = {"image_shape": SHAPE, "latent_shape": (4,), "load_model": None}
    term = build(node, LossTerm, key="terms.ours", trust=("ours13",), **given)
    sys.modules.pop("ours13")
    x, y = images(2, SHAPE, "x"), images(2, SHAPE, "y")
    torch.testing.assert_close(compared(term, x, y), (x - y).square().flatten(1).mean(1))
    assert (term.weight, term.per) == (2.0, "example")


def test_the_encoder_of_a_run(finished_run, lehr, tmp_path):
    model = read_model(RunDirectory(finished_run).model)[0]
    node = {"_target_": "lehr.objective.terms.RunFeatures", "run": str(finished_run), "scale": "raw"}
    given = {"latent_shape": (4,), "load_model": lambda run: read_model(RunDirectory(run).model)[0]}
    term = build(node, LossTerm, key="terms.features", image_shape=model.image_shape, **given)
    x, y = images(2, model.image_shape, "x"), images(2, model.image_shape, "y")
    means = [model.encode(one).mean for one in (x, y)]
    torch.testing.assert_close(compared(term, x, y), (means[0] - means[1]).square().mean(1))
    with pytest.raises(ConfigError, match="was trained on images of 1 x 8 x 8, and these are 3 x 8 x 12"):
        build(node, LossTerm, key="terms.features", image_shape=SHAPE, **given)
    code, _, err = lehr("train", "terms=features", f"terms.features.run={tmp_path}")
    assert code == 2
    assert f"terms.features.run={tmp_path}: there is no finished run" in err
