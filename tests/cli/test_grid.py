"""From the command line to the points of a grid; compared with what Hydra itself makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from grids import SEARCH, by_hydra, compositions, exact, found, problems_of, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from lehr.compose.composer import Command, Composer, composed
from lehr.compose.structure import Structure
from lehr.config.registry import conf_dir
from lehr.errors import ConfigError
from lehr.run.identity import identity, is_part

OWN = {
    # every kind of interpolation there is
    "experiment/linked.yaml": """# @package _global_
kl:
  hold: ${model.latent_dim}
  warmup: ${kl.hold}
  cycles: ${.hold}
data:
  key: seed-${seed}
""",
    "experiment/section.yaml": """# @package _global_
callbacks:
  early_stopping: ${callbacks.mine}
  a.b:
    _target_: lehr.training.EarlyStopping
    patience: ${seed}
    min_delta: 0
  mine:
    _target_: lehr.training.EarlyStopping
    patience: ${seed}
    min_delta: ${optimizer.lr}
""",
    "experiment/resolvers.yaml": """# @package _global_
data:
  root: ${oc.env:HOME,${seed}}/${oc.select:optimizer.lr,3}
optimizer:
  betas: [0.9, "${optimizer.eps}"]
""",
    "experiment/constant.yaml": """# @package _global_
defaults: [override /data: mnist]
data:
  root: ${oc.env:LEHR_NOWHERE,data}-${hydra:runtime.choices.model}-${hydra:runtime.choices.kl}
trainer:
  check_val_every_n_epoch: ${trainer.max_epochs}
  max_epochs: ${model.latent_dim}
""",
    "experiment/grid.yaml": """# @package _global_
kl: {hold: 0, warmup: 3}
hydra:
  sweeper:
    params:
      kl.weight: 0.5,1
      seed: range(3)
      trainer.max_epochs: 7
      model.hidden: '[8],[4]'
""",
}


@pytest.fixture
def own() -> Path:
    for name, text in OWN.items():
        path = Path("own") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path("own")


@pytest.mark.parametrize(
    "typed",
    [
        ["seed=1,2", "kl=mmd", "kl.weight=1e-3,5e-1", "compile=TRUE"],  # data.seed and kl.seed follow seed
        ["data=arrays", "data.path='a,b/ü x.npy'", "data.key=null,'null',\"it's\"", "data.seed=7"],
        ["model=mlp,conv", "trainer.precision=bf16-mixed", "model.latent_dim=3", "callbacks.early_stopping=null"],
        ["callbacks.early_stopping.patience=3,4", "callbacks.early_stopping={min_delta:0.5}", "model.hidden=[8,4]"],
        ["kl.warmup='${kl.hold}',2", "kl.hold=1", "~callbacks.samples"],
        slow([]),
        slow(["model.hidden=[],[8,4]", "compile=true,FALSE"]),
        slow(["kl.weight=choice(3,0.5)", "seed=range(4,0,-3)", "optimizer.lr=sort(0.3,0.1)"]),
        slow(["callbacks.early_stopping=null,{patience:3}", "seed=1"]),
        slow(["~callbacks.samples", "seed=0,1"]),
        slow(["+callbacks.mine._target_=lehr.training.EarlyStopping", "+callbacks.mine.patience=2,3",
             "+callbacks.mine.min_delta=0"]),
        slow(["++kl.weight=1,2", "seed=3"]),
        slow(["kl.weight=${kl.hold}", "kl.hold=0,1"]),
        slow(["optimizer.betas=[0.5,0.9],[0,0.5]", "model._target_=lehr.models.MLP"]),
        slow(["logger=none", "prior=standard_normal,vamp"]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_points_are_what_hydra_composes_in_its_order(typed):
    Path("a,b").mkdir()
    Path("a,b/ü x.npy").touch()
    assert [exact(point.config) for point in found(*typed).points] == [exact(config) for config in by_hydra(*typed)]


@pytest.mark.parametrize(
    "typed",
    [
        ["experiment=linked", "data=arrays", "data.path=x", "model.latent_dim=2,3"],
        ["experiment=constant", "trainer.max_epochs=21", "model.latent_dim=20,30"],
        slow(["experiment=section", "seed=1,2", "optimizer.lr=0.1"]),
        slow(["experiment=resolvers", "data=mnist", "seed=1,2", "optimizer.eps=1e-3"]),
        slow(["experiment=constant", "model=mlp,conv", "model.latent_dim=20", "kl=constant"]),
    ],
    ids=" ".join,
)
def test_interpolations_of_every_kind_are_resolved_for_each_point(own, typed):
    Path("x").touch()
    configs = [point.config for point in found(*typed, config_dir=own).points]
    assert [exact(config) for config in configs] == [exact(config) for config in by_hydra(*typed, config_dir=own)]
    assert len({exact(config) for config in configs}) == len(configs) == 2


@pytest.fixture(scope="module")
def mmd() -> DictConfig:
    return Composer(Command("train", None, [])).compose("kl=mmd", "data=mnist")


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("aé,$={} \\'\"#~1", max_size=6)
)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.data())
def test_any_value_set_in_a_composition_is_what_omegaconf_makes_of_it(mmd, data):
    structure = Structure.of(mmd)
    named = st.sampled_from(sorted(structure.leaves))
    changes = data.draw(st.dictionaries(named | st.sampled_from(["seed", "data.seed"]), scalars, max_size=4))
    changes = {key: value for key, value in changes.items() if "${" not in str(value) and value != "???"}
    before = exact(structure.composed.values)
    expected = OmegaConf.masked_copy(mmd, [key for key in mmd if key not in ("hydra", "pool", "sweep")])
    expected.dir = "x"
    for key, value in changes.items():
        OmegaConf.update(expected, key, value, merge=True)
    assert structure.takes(changes)
    assert exact(structure.with_values(changes)) == exact(OmegaConf.to_container(expected, resolve=True))
    assert exact(structure.composed.values) == before


def test_thousands_of_points_take_a_few_compositions(monkeypatch):
    asked = compositions(monkeypatch)
    points = found("model=mlp,conv", "kl.weight=range(0,25)", "seed=range(0,20)", "hydra.sweep.dir=x").points
    assert len(points) == len({point.id for point in points}) == 1000
    assert len(asked) <= 4


def test_what_a_grid_says_of_its_points():
    result = found(
        "model=mlp,conv", "kl.weight=0.5,1", "trainer.max_epochs=50", "pool.workers=3", "hydra.sweep.dir=my,grid=1"
    )
    assert result.keys == ["model", "kl.weight"]
    assert [point.swept for point in result.points] == [
        {"model": model, "kl.weight": weight} for model in ("mlp", "conv") for weight in (0.5, 1)
    ]
    assert result.choices["data"] == "digits"
    assert "model" not in result.choices
    assert not {"sweep", "pool", "experiment"} & set(result.choices)
    assert result.sweep_dir == "my,grid=1"
    assert result.pool == {"workers": 3, "gpus": "auto", "gpus_per_run": 1, "per_gpu": 1, "fused": "none"}
    assert result.settings == {"retry": "none"}
    assert (result.launcher_name, result.sweeper_name) == ("pool", "basic")
    assert result.launcher["_target_"] == "lehr.sweeps.pool.Pool"
    assert result.space == {"model": "mlp,conv", "kl.weight": "0.5,1"}
    assert result.recipe.base().trainer.max_epochs == 50
    for point in result.points:
        assert not {"pool", "sweep", "hydra"} & set(point.config)
        assert point.id == identity(point.config)


def test_constant_is_what_all_points_have_in_common_of_what_makes_them_up():
    result = found("seed=1,2", "model=mlp,conv", "kl.weight=3")
    assert result.constant["kl.weight"] == 3
    assert result.constant["data.split_seed"] == 0
    assert result.constant["model.latent_dim"] == 20
    for key in ("seed", "data.seed", "model._target_", "model.hidden", "model.channels", "model.activation"):
        assert key not in result.constant
    assert all(is_part(key) for key in result.constant)
    assert found("kl.weight=1,1").constant.keys() == found().constant.keys() - {"kl.weight"}


def test_points_that_are_the_same_run_are_one():
    points = found("kl.weight=1,1.0,2", "seed=0,0").points
    assert [point.swept for point in points] == [{"kl.weight": 1, "seed": 0}, {"kl.weight": 2, "seed": 0}]


def test_a_sweep_of_nothing_is_one_run():
    (point,) = found("kl.weight=2").points
    assert point.swept == {}
    assert point.config["kl"]["weight"] == 2
    assert point.name == point.id[:10]


def test_a_grid_in_a_file_is_a_grid_and_the_command_line_comes_first(own):
    def swept(*typed: str) -> list[tuple[Any, ...]]:
        result = found("experiment=grid", *typed, config_dir=own)
        assert {point.config["kl"]["warmup"] for point in result.points} == {3}
        assert {point.config["trainer"]["max_epochs"] for point in result.points} == {7}
        return [tuple(point.swept.items()) for point in result.points]

    as_it_is = [
        (("kl.weight", weight), ("seed", seed), ("model.hidden", hidden))
        for weight in (0.5, 1)
        for seed in range(3)
        for hidden in ([8], [4])
    ]
    assert swept() == as_it_is
    assert swept("seed=5", "model.hidden=[2]") == [(("kl.weight", 0.5),), (("kl.weight", 1),)]
    assert swept("optimizer.lr=0.1,0.2", "kl.weight=3", "seed=8,9", "++model.hidden=[2]") == [
        (("seed", seed), ("optimizer.lr", lr)) for seed in (8, 9) for lr in (0.1, 0.2)
    ]
    assert problems_of("experiment=grid", "seed=1,-1", "trainer.max_epochs=2", config_dir=own) == [
        "kl.hold=0 + kl.warmup=3 must be shorter than a training of 2 epochs: the target would never be reached; "
        "say kl.hold=0 kl.warmup=1, or train for longer (in kl.weight=0.5 seed=1 model.hidden=[8] and 3 more)",
        "seed=-1: must be greater than or equal to 0",
    ]
    config, problems = composed(Command("train", own, ["experiment=grid"]))
    assert (config.values["seed"], problems) == (0, [])


NAMED = sorted(path.stem for path in (conf_dir() / "sweep").glob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "keys", "number"),
    [
        ("kl_weight", ["kl.weight", "seed"], 18),
        ("warmup", ["kl.warmup", "seed"], 15),
        ("latent_size", ["model.latent_dim", "seed"], 18),
        ("precision", ["trainer.precision", "seed"], 12),
        ("collapse_map", ["kl.weight", "kl.warmup"], 16),
    ],
)
def test_every_named_grid_is_ready_to_run(name, keys, number):
    result = found(f"sweep={name}", "data=digits,mnist")
    assert result.keys == [*keys, "data"]
    assert len(result.points) == 2 * number
    assert {point.config["seed"] for point in result.points} == ({0, 1, 2} if "seed" in keys else {0})
    assert NAMED == ["collapse_map", "kl_weight", "latent_size", "precision", "warmup"]


def test_named_grids_are_changed_and_crossed_on_the_command_line():
    assert [p.swept for p in found("sweep=warmup", "kl.warmup=0,3", "seed=1").points] == [
        {"kl.warmup": 0},
        {"kl.warmup": 3},
    ]
    assert found("sweep=[kl_weight,precision]", "seed=1").keys == ["kl.weight", "trainer.precision"]
    assert problems_of("sweep=warmpu") == ["sweep=warmpu: there is no such choice; did you mean warmup?"]
    assert problems_of("sweep=warmup,precision") == ["sweep=warmup,precision: is of the whole sweep; give one value"]
    assert composed(Command("train", None, ["sweep=kl_weight"]))[1] == ["sweep=kl_weight: is for many runs; add -m"]


def test_one_run_is_told_of_many_in_vain():
    config, problems = composed(Command("train", None, ["pool.workers=3", "sweep.retry=failed"]))
    assert problems == []
    assert not {"pool", "sweep"} & set(config.values)


@pytest.mark.slow
def test_a_search_has_a_space_and_makes_its_points_one_by_one():
    typed = (
        "kl.weight=tag(log, interval(0.1,4))",
        "model=mlp,conv",
        "model.latent_dim=range(2,10)",
        "trainer.max_epochs=30",
    )
    result = found(*SEARCH, *typed)
    assert result.points == []
    assert result.sweeper_name == "optuna"
    assert result.sweeper["metric"] == "val/elbo"
    assert result.space == {
        "kl.weight": "tag(log, interval(0.1,4))", "model": "mlp,conv", "model.latent_dim": "range(2,10)"
    }  # fmt: skip
    assert result.constant["trainer.max_epochs"] == 30
    assert not {"kl.weight", "model.latent_dim", "model.channels", "model._target_"} & set(result.constant)
    point = result.compose_point({"kl.weight": "0.25", "model": "conv", "model.latent_dim": "4"})
    (config,) = by_hydra("kl.weight=0.25", "model=conv", "model.latent_dim=4", "trainer.max_epochs=30")
    assert exact(point.config) == exact(config)
    assert point.swept == {"kl.weight": 0.25, "model": "conv", "model.latent_dim": 4}
    assert result.compose_point({"model": "mlp"}).config["kl"]["weight"] == 1
    for wrong, line in [
        ({"kl.weight": "-1"}, "kl.weight=-1: must be greater than or equal to 0"),
        ({"model": "cnov"}, "model=cnov: there is no such choice; did you mean conv?"),
        ({"kl.weight": "1,2"}, "kl.weight=1,2: has several values; "),
        ({"kl.weight": "[1"}, "kl.weight=[1: cannot be read "),
    ]:
        with pytest.raises(ConfigError) as caught:
            result.compose_point(wrong)
        assert str(caught.value).startswith(line)
