from __future__ import annotations

import sys

import pytest

from lehr.config.build import build, checked_class, find_class
from lehr.errors import ConfigError
from lehr.models import MLP, VAE, Autoencoder
from lehr.objective import Annealing
from lehr.run.model_files import build_model


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the user's own, importable."""
    (tmp_path / "own_models.py").write_text(
        "import os\n"
        "from lehr.models import MLP\n"
        "from torch.nn import Linear\n"
        "class Mine(MLP):\n"
        "    def __init__(self, image_shape, latent_dim, depth=1):\n"
        "        super().__init__(image_shape, latent_dim, hidden=[4] * depth)\n"
        "class Any(MLP):\n"
        "    def __init__(self, depth=1, **rest):\n"
        "        super().__init__(**rest)\n"
        "def function():\n"
        "    return MLP\n"
    )
    (tmp_path / "own_broken.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_models"
    for name in ("own_models", "own_broken"):
        sys.modules.pop(name, None)


def test_a_component_is_built_of_its_values_and_of_what_is_given():
    node = {"_target_": "lehr.models.MLP", "latent_dim": 3, "hidden": [5]}
    model = build(node, VAE, key="model", image_shape=(1, 4, 4))
    assert isinstance(model, MLP)
    assert model.latent_shape == (3,)
    assert model.image_shape == (1, 4, 4)


def test_a_class_of_the_user_s_own_is_built_once_its_package_is_trusted(package):
    node = {"_target_": "own_models.Mine", "latent_dim": 2, "depth": 2}
    with pytest.raises(ConfigError, match="only classes of lehr, torch, lightning, diffusers are built"):
        build(node, VAE, key="model", image_shape=(1, 4, 4))
    model = build(node, VAE, key="model", trust=[package], image_shape=(1, 4, 4))
    assert type(model).__name__ == "Mine"


def test_nothing_of_a_package_that_is_not_trusted_is_imported(tmp_path, monkeypatch):
    (tmp_path / "own_bomb.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError):
        find_class("own_bomb.Model", VAE)
    assert "own_bomb" not in sys.modules


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("torch.os.system", "there is no such class"),
        ("torch.nope", "there is no such class"),
        ("lehr.nothing.Foo", "there is no such class"),
        ("lehr.posterior.gaussian.torch.nn.Linear", "there is no such class"),
        ("torch.hub.load", "is not a class of"),
        ("torch.serialization.pickle", "is not a class of"),
        ("lehr.files.Path", "is not a class of"),
        ("lehr.run.load.load", "is not a class of"),
        ("lehr.models", "is not a class of"),
        ("lehr", "only classes of"),
        ("lehr.__main__.main", "is a program, not a module"),
        ("torch.nn.Linear", "must be a subclass of lehr.models.vae.VAE"),
        ("lehr.objective.Annealing", "must be a subclass of lehr.models.vae.VAE"),
        ("own_models.os.system", "there is no such class"),
        ("own_models.function", "is not a class of"),
        ("own_models.Linear", "must be a subclass of lehr.models.vae.VAE"),
        ("own_models.Missing", "there is no such class"),
        ("own_broken.Model", "own_broken cannot be imported (RuntimeError: two lines)"),
    ],
)
def test_only_classes_of_the_right_kind_of_allowed_packages_are_built(package, target, reason):
    with pytest.raises(ConfigError) as caught:
        find_class(target, VAE, [package, "own_broken"], "model._target_")
    (line,) = caught.value.problems
    assert line.startswith(f"model._target_={target}: ")
    assert reason in line
    assert "\n" not in line


def test_every_value_that_does_not_fit_is_one_line():
    node = {"_target_": "lehr.models.Linear", "latent_dimm": 5, "width": 3}
    with pytest.raises(ConfigError) as caught:
        checked_class(node, VAE, key="model", given=("image_shape",))
    assert caught.value.problems == (
        "model.latent_dim: is missing; lehr.models.Linear needs it",
        "model.latent_dimm: unknown key of lehr.models.Linear; did you mean latent_dim?",
        "model.width: unknown key of lehr.models.Linear; there are: latent_dim, logvar_max, logvar_min",
    )


def test_what_the_code_gives_need_not_be_configured():
    node = {"_target_": "lehr.models.MLP", "latent_dim": 2}
    assert checked_class(node, VAE, key="model", given=("image_shape",)) is MLP


def test_a_class_of_the_user_s_that_takes_any_keyword_takes_any_value(package):
    node = {"_target_": f"{package}.Any", "latent_dim": 2, "anything": 1}
    assert checked_class(node, VAE, key="model", trust=[package], given=("image_shape",)).__name__ == "Any"


def test_what_a_class_passes_on_is_checked_too():
    from lehr.data import ImageDataModule

    node = {"_target_": "lehr.data.Digits", "batch_sizes": 1, "eval_batch_size": 1, "val_fraction": 0.1, "seed": 0}
    with pytest.raises(ConfigError) as caught:
        checked_class(node | {"binarize": "none"}, ImageDataModule, key="data")
    assert caught.value.problems == (
        "data.batch_size: is missing; lehr.data.Digits needs it",
        "data.batch_sizes: unknown key of lehr.data.Digits; did you mean batch_size?",
    )


def test_a_value_that_the_class_itself_refuses_is_one_line():
    node = {"_target_": "lehr.models.MLP", "latent_dim": 2, "activation": "rellu"}
    with pytest.raises(ConfigError, match=r"^model: lehr\.models\.MLP refused its values: model\.activation='rellu'"):
        build(node, VAE, key="model", image_shape=(1, 4, 4))


def test_the_values_are_not_changed():
    node = {"_target_": "lehr.objective.Annealing", "weight": 2.0}
    assert build(node, Annealing, key="kl") == Annealing(weight=2.0)
    assert node == {"_target_": "lehr.objective.Annealing", "weight": 2.0}


@pytest.fixture
def module_package(tmp_path, monkeypatch):
    """A package with a module that knows nothing of lehr."""
    (tmp_path / "own_module.py").write_text(
        "from torch import nn\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, width=3):\n"
        "        super().__init__()\n"
        "        self.down, self.up = nn.Linear(16, width), nn.Linear(width, 16)\n"
        "    def encode(self, x):\n"
        "        return self.down(x.flatten(1))\n"
        "    def decode(self, z):\n"
        "        return self.up(z).view(-1, 1, 4, 4)\n"
        "class Half(nn.Module):\n"
        "    def encode(self, x):\n"
        "        return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_module"
    sys.modules.pop("own_module", None)


def test_a_module_that_encodes_and_decodes_is_a_model_by_its_name(module_package):
    config = {"model": {"_target_": "own_module.Mine", "width": 5}}
    model = build_model(config, (1, 4, 4), [module_package])
    assert isinstance(model, Autoencoder)
    assert model.latent_shape == (5,)
    with pytest.raises(ConfigError, match=r"^model: Mine.encode: fails on a tensor of \(1, 3, 8, 8\)"):
        build_model(config, (3, 8, 8), [module_package])
    with pytest.raises(ConfigError, match=r"own_module.Half: must be .*Autoencoder, or a torch.nn.Module with encode"):
        build_model({"model": {"_target_": "own_module.Half"}}, (1, 4, 4), [module_package])


def test_such_a_module_is_no_vae(module_package):
    with pytest.raises(ConfigError, match=r"must be a subclass of lehr\.models\.vae\.VAE"):
        find_class("own_module.Mine", VAE, [module_package])
