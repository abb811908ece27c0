"""Advice where it is read: after a training, and that what is advised can be typed as it stands."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml

import lehr as package

SMALL = (
    "trainer.max_epochs=6", "trainer.check_val_every_n_epoch=1", "model.hidden=[64]", "model.latent_dim=8",
    "optimizer.lr=5e-3", "callbacks.samples=null", "logger=none",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training that is too short, whose schedule is a share of it, and what it printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    from lehr.cli.main import main

    path, out = tmp_path_factory.mktemp("advised") / "a run", StringIO()
    with redirect_stdout(out):
        assert main(["train", f"dir='{path}'", *SMALL, "kl.unit=fraction", "kl.hold=0.1", "kl.warmup=0.2"]) == 0
    return path, out.getvalue()


def typed(lehr, command):
    program, *words = shlex.split(command)
    assert program == "lehr"
    return lehr(*words)


def test_a_training_that_was_too_short_ends_in_the_command_that_goes_on(trained, lehr):
    path, out = trained
    (advice,) = package.load(path).advice
    (command,) = advice.commands
    assert "the ELBO of the validation still rises" in advice.reason
    assert out.endswith(f"  to try next\n    {advice.reason}: {advice.words}\n      {command}\n\n")
    assert f'<code style="background:none;color:inherit">lehr train resume=&#x27;{path}&#x27;' in (
        package.load(path)._repr_html_()
    )
    config = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(config.replace("debug: false", "debug: overfit"))
    assert package.load(path).advice == []  # which was to find mistakes, not to end in a model
    (path / "config.yaml").write_text(config)
    before = package.load(path).history["val/kl_weight"].dropna()
    code, _, err = typed(lehr, command)
    assert (code, "note" in err) == (0, False), err  # no schedule has moved
    config = yaml.safe_load((path / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 12
    after = package.load(path).history["val/kl_weight"].dropna()
    assert after[before.index].equals(before)
    assert len(after) == 12


def test_a_finished_run_ends_in_its_best_weights_when_it_is_told_to(trained, lehr):
    path, _ = trained
    code, _, err = typed(lehr, f"lehr train resume={shlex.quote(str(path))} export.weights=best")
    assert code == 0, err
    assert json.loads((path / "status.json").read_text())["exported"]["weights"] == "best"


def test_a_run_that_needs_nothing_is_told_nothing(finished_run):
    assert package.load(finished_run).advice == []
