"""LPIPS against torchmetrics' copy of the lpips package, with weights of VGG16 that are drawn: none are downloaded."""

from __future__ import annotations

import hashlib
import shutil

import pytest
import torch
from compared import compared, images, share_of_gradients, term_inputs

from lehr import randomness
from lehr.errors import ConfigError
from lehr.objective.terms import LPIPS
from lehr.objective.terms.lpips import Network, linear_layers
from lehr.objective.terms.vgg import VGG16
from lehr.weights import hub_folder


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """A file as torchvision's, and the digits that its SHA-256 begins with."""
    with torch.device("meta"):
        meta = VGG16().state_dict()
    with randomness.seeded(0, "vgg"):
        weights = {
            name: torch.nn.init.kaiming_normal_(torch.empty(w.shape)) if w.ndim > 1 else 0.1 * torch.randn(w.shape)
            for name, w in meta.items()
        }
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save({**weights, "classifier.0.weight": torch.zeros(2)}, path)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def lpips(vgg_file, shape=(3, 16, 32), **options):
    path, digits = vgg_file
    return LPIPS(shape, weights=path, sha256=digits, **options)


@pytest.fixture(scope="module")
def packaged(vgg_file):
    """torchmetrics' network, which asks torchvision for the layers of VGG16, with these weights."""
    from torchmetrics.functional.image import lpips as of_torchmetrics

    layers, before = [], 3
    for block in ("64 64", "128 128", "256 256 256", "512 512 512", "512 512 512"):
        for width in map(int, block.split()):
            layers += [torch.nn.utils.skip_init(torch.nn.Conv2d, before, width, 3, padding=1), torch.nn.ReLU(True)]
            before = width
        layers.append(torch.nn.MaxPool2d(2, 2))
    features = torch.nn.Sequential(*layers)
    weights = torch.load(vgg_file[0], weights_only=True)
    features.load_state_dict({k.removeprefix("features."): w for k, w in weights.items() if k.startswith("features.")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_torchmetrics, "_get_tv_model_features", lambda net, pretrained=False: features)
        return of_torchmetrics._LPIPS(net="vgg")


@pytest.mark.parametrize(("b", "shape"), [(2, (3, 16, 32)), (1, (3, 17, 16)), (2, (1, 24, 16))])
def test_it_is_what_the_package_gives(vgg_file, packaged, b, shape):
    x, y = images(b, shape, "x"), images(b, shape, "y").requires_grad_()
    found = compared(lpips(vgg_file, shape), x, y)
    assert found.dtype == torch.float32
    other = y.detach().clone().requires_grad_()
    expected = packaged(x.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1), normalize=True).flatten()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert found.min() > 0.05
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(y.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_equal_and_constant_images_are_at_distance_0_with_a_finite_gradient(vgg_file):
    """The lpips package divides by the root of 0 where no feature is active."""
    term = lpips(vgg_file)
    dead = lpips(vgg_file)
    for layer in dead.network.vgg.features:
        if isinstance(layer, torch.nn.Conv2d):
            layer.bias.fill_(-100.0)
    x = images(1, (3, 16, 32))
    for one in (term, dead):
        for same in (x, torch.zeros_like(x), torch.full_like(x, 0.5)):
            y = same.clone().requires_grad_()
            value = compared(one, same, y)
            value.sum().backward()
            assert value.item() == 0
            assert y.grad.isfinite().all()


def test_the_same_pair_twice_is_the_same_whatever_mode_and_precision(vgg_file):
    """AuraEquiVAE's LPIPS was never in evaluation mode: its dropout was active."""
    term = lpips(vgg_file)
    x, y = images(2, (3, 16, 32), "x"), images(2, (3, 16, 32), "y")
    expected = compared(term, x, y)
    term.train()
    assert torch.equal(compared(term, x, y), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(term(term_inputs(x, y)).value, expected)
    term.bfloat16()
    assert torch.equal(compared(term, x, y), expected)
    term.double()
    torch.testing.assert_close(compared(term, x.double(), y.double()), expected.double(), rtol=1e-5, atol=1e-6)
    assert not list(term.parameters())
    assert not term.state_dict()


def test_it_changes_the_gradients_of_encoder_and_decoder_and_targets_have_none(vgg_file):
    term = lpips(vgg_file)
    assert min(share_of_gradients(term, (3, 16, 32), b=1)) > 0.01
    x, y = images(1, (3, 16, 32), "x").requires_grad_(), images(1, (3, 16, 32), "y").requires_grad_()
    compared(term, x, y).sum().backward()
    assert x.grad is None
    assert y.grad.abs().sum() > 0


def test_a_known_distance_of_features_of_length_1():
    """Two images whose features are e_1 and e_2 everywhere differ by the sum of those two channels' weights."""

    class Fixed(torch.nn.Module):
        def forward(self, x):
            hot = x.mean((1, 2, 3), keepdim=True) > 0  # of pixels as the scaling layer gives them
            return [torch.cat([hot * 3.0, ~hot * 5.0], 1).expand(-1, 2, 4, 4)]

    network = Network(Fixed(), [torch.tensor([0.25, 0.5])])
    x = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    assert network(x, x.flip(0)).tolist() == pytest.approx([0.75, 0.75])


@pytest.mark.parametrize(("shape", "message"), [((4, 32, 32), "1 or 3 channels, and these have 4"),
                                                ((3, 64, 15), "64 x 15, are less than 16")])  # fmt: skip
def test_images_that_it_cannot_look_at_are_refused(shape, message, vgg_file):
    with pytest.raises(ConfigError, match=rf"^terms\.lpips: .*{message}.*use terms=laplacian$"):
        lpips(vgg_file, shape)


def test_without_weights_a_line_says_where_they_are_and_what_to_use_instead(lehr, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = hub_folder() / "vgg16-397923af.pth"
    code, _, err = lehr("train", "data=images", "data.path=/", "terms=lpips")
    assert code == 2
    line = next(line for line in err.splitlines() if "terms.lpips" in line)
    assert f"needs {path}; get https://download.pytorch.org/models/vgg16-397923af.pth" in line
    assert "terms=laplacian" in line


def test_weights_that_are_others_are_refused(lehr, vgg_file, tmp_path):
    path = tmp_path / "vgg16.pth"
    shutil.copy(vgg_file[0], path)
    code, _, err = lehr("train", "data=images", "data.path=/", "terms=lpips", f"terms.lpips.weights={path}")
    assert code == 2
    assert f"begins with {vgg_file[1]}" in err
    with pytest.raises(ConfigError, match="there is no such file"):
        LPIPS((3, 16, 16), weights=str(tmp_path / "nowhere.pth"))
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(2)}, other)
    digits = hashlib.sha256(other.read_bytes()).hexdigest()
    with pytest.raises(ConfigError, match=r"does not hold VGG16 \(.*Missing"):
        LPIPS((3, 16, 16), weights=str(other), sha256=digits)
    other.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"other\.pth holds no weights"):
        LPIPS((3, 16, 16), weights=str(other), sha256=hashlib.sha256(b"no weights").hexdigest())


def test_linear_layers_have_a_weight_for_each_channel():
    assert [len(weight) for weight in linear_layers()] == [64, 128, 256, 512, 512]
    assert min(weight.min() for weight in linear_layers()) > 0
