from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate

from lehr.config.given import named
from lehr.config.signature import signature_of
from lehr.data import ImageDataModule

CONF = Path(__file__).parents[2] / "conf"
NAMES = named("data", sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml")))
"""All but those that stand for what a program gives."""


EITHER = "data: say either dataset or path, a name on the hub or where the data set lies"


def composed(name: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+data={name}", "+seed=7"])


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_data_set_is_a_data_module_with_the_seed_of_the_run(name: str) -> None:
    data = instantiate(composed(name).data)
    assert isinstance(data, ImageDataModule)
    assert data.seed == 7
    wanted = ["data.path: is missing; say data.path=PATH"] if name in ("arrays", "images", "shards") else []
    assert data.check() == (wanted if name != "hub" else [EITHER])


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_names_every_argument(name: str) -> None:
    config = composed(name).data
    everything = signature_of(get_class(config["_target_"])).parameters
    assert {str(key) for key in config} == {*everything, "_target_"}


@pytest.mark.parametrize("path", sorted((CONF / "data").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_value_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    bare = [line for line in lines if line[0] != "#" and "#" not in line]
    assert [line for line in bare if not line.startswith(("defaults:", "_target_:"))] == []
    assert isinstance(yaml.safe_load(path.read_text()), dict)
