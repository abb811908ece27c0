"""`lehr probe`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import lehr as package
from lehr.config.probes import PROBES
from lehr.evaluation.catalogue import find_metric


@pytest.fixture
def run(finished_run) -> Path:
    shutil.copytree(finished_run, "run")
    return Path("run")


def test_a_model_of_flat_latents_says_which_probes_it_cannot_have(run, lehr):
    code, out, err = lehr("probe", "run=run", "examples=20", "out=found")
    assert code == 0, err
    table = json.loads(Path("found/probes.json").read_text())
    assert {key.split("/")[1] for key in table if key.startswith("probe/")} == set(PROBES)
    for name in ("bright_spot", "reach", "grid"):
        assert table[f"probe/{name}/note"] == "latents are vectors, without positions"
    assert table["probe/attention/note"] == "the model has no attention"
    assert {name for name in table if "/" in name and find_metric(name) is None} == set()
    assert {path.stem for path in Path("found/probes").iterdir()} <= set(PROBES)
    assert all(name in out for name in PROBES)
    assert not (run / "probes.json").exists()
    found = package.probe(run, probes=["colour"], examples=20)
    assert found.outcomes["colour"].values["shift"] == table["probe/colour/shift"]
    assert (run / "probes.json").exists()


def test_what_other_probes_have_found_stays_while_model_and_images_are_the_same(run):
    def looked_at(**values) -> tuple[set[str], set[str]]:
        package.probe(run, out="found", **values)
        table = json.loads(Path("found/probes.json").read_text())
        names = {key.split("/")[1] for key in table if key.startswith("probe/")}
        return names, {path.stem for path in Path("found/probes").iterdir()}

    looked_at(probes=["border"], examples=20)
    both = {"border", "noise"}
    assert looked_at(probes=["noise"], examples=20) == (both, both)
    assert looked_at(probes=["border"], examples=20) == (both, both)
    assert looked_at(probes=["noise"], examples=10) == ({"noise"}, {"noise"})


def test_sizes_that_a_model_does_not_take_are_refused_where_they_were_asked_for():
    from lehr.models import TinyAutoencoder
    from lehr.run.probe import _sizes

    model = TinyAutoencoder((3, 24, 40), base_channels=4, blocks=[0, 0, 0], fit="error")
    assert _sizes(model, (3, 24, 40), None) == (12, 24, 48)
    assert _sizes(model, (3, 24, 40), [36]) == (36,)
    with pytest.raises(package.ConfigError) as told:
        _sizes(model, (3, 24, 40), [36, 30, 18])
    lines = [f"sizes: {size}: model.fit=error: images of {size}x{side}" for size, side in ((30, 50), (18, 30))]
    assert [problem.partition(",")[0] for problem in told.value.problems] == lines
    padded = TinyAutoencoder((3, 24, 40), base_channels=4, blocks=[0, 0, 0])
    assert _sizes(padded, (3, 24, 40), [30]) == (30,)


def test_a_mistake_is_a_line(run, refused):
    assert refused("probe", "run=run", "probes=[color]")[0].startswith("probes")
    assert refused("probe", "run=run", "sizes=[0]", "examples=1") != []
    (run / "probes.json").write_text("[]")
    assert refused("probe", "run=run") == ["run/probes.json: was not written by lehr; move it away"]
    Path("found/probes").mkdir(parents=True)
    Path("found/probes/grid.png").write_bytes(b"mine")
    mine = ["found/probes/grid.png: was not written by lehr; move it away"]
    assert refused("probe", "run=run", "out=found", "probes=[grid]") == mine
    assert Path("found/probes/grid.png").read_bytes() == b"mine"
    with pytest.raises(package.ConfigError, match="examples"):
        package.probe("run", examples=0)
