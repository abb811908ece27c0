from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lehr.config.registry import conf_dir
from lehr.config.schema import SampleConfig


@pytest.fixture
def complete(lehr):
    """What may come next on a line that is typed up to here."""

    def query(line: str) -> list[str]:
        code, out, err = lehr("completion", "query", line)
        assert (code, err) == (0, "")
        return out.splitlines() if out.strip() else []

    return query


def choices(group: str) -> list[str]:
    names = [path.stem for path in (conf_dir() / group).glob("[!_]*.yaml")]
    return sorted(f"{group}={name}" for name in names if not name.startswith("given"))  # which are for programs alone


def test_commands(complete):
    assert complete("lehr ") == [
        "compare ",
        "completion ",
        "data ",
        "evaluate ",
        "export ",
        "groups ",
        "import ",
        "probe ",
        "report ",
        "results ",
        "sample ",
        "train ",
    ]
    assert complete("lehr t") == ["train "]
    assert complete("lehr tarin mo") == []
    assert complete("lehr completion ") == ["bash ", "zsh "]


def test_data(complete):
    assert complete("lehr data ") == ["data.", "data=", "debug=", "format=", "out=", "seed=", "trust="]
    assert complete("lehr data data=images data.cr") == ["data.crop="]
    crops = ["data.crop=centre", "data.crop=random", "data.crop=random_resized"]
    assert complete("lehr data data=images data.crop=") == crops
    assert complete("lehr data format=") == ["format=json", "format=table"]


def test_groups_and_keys(complete):
    assert complete("lehr train mo") == ["model.", "model="]
    assert complete("lehr train model.l") == ["model.latent_dim=", "model.logvar_max=", "model.logvar_min="]
    assert complete("lehr train model=conv --multirun model.ch") == ["model.channels="]
    assert "callbacks.samples." in complete("lehr train callbacks.")
    assert complete("lehr train callbacks.samples.st") == ["callbacks.samples.steps="]
    everything = complete("lehr train ")
    assert {"seed=", "dir=", "experiment=", "kl.", "kl=", "trainer.", "trainer=", "resume="} <= set(everything)
    assert not any("hydra" in word for word in everything)


def test_the_choices_of_a_group_without_the_files_that_they_share(complete):
    for group in ("model", "data"):
        assert complete(f"lehr train {group}=") == choices(group)
    assert complete("lehr train -m kl=anneal,con") == ["kl=anneal,constant", "kl=anneal,control"]


def test_words(complete):
    assert complete("lehr train evaluate=") == ["evaluate=full", "evaluate=none", "evaluate=quick"]
    assert complete("lehr train -m kl.shape=linear,c") == ["kl.shape=linear,cosine"]
    assert complete("lehr train kl.shape=linear,c") == []
    assert complete("lehr train likelihood=gaussian likelihood.scale=l") == ["likelihood.scale=learned"]
    assert complete("lehr train trainer.precision=b") == ["trainer.precision=bf16-mixed", "trainer.precision=bf16-true"]
    assert complete("lehr train compile=") == ["compile=false", "compile=true"]
    assert complete("lehr train callbacks.samples.n=") == []
    assert complete("lehr sample method=m") == ["method=mixture"]
    assert "samplers=[prior" in complete("lehr evaluate samplers=")
    assert complete("lehr probe probes=[border,col") == ["probes=[border,colour"]
    assert complete("lehr evaluate samplers=[prior,mi") == ["samplers=[prior,mixture"]
    assert complete("lehr results x format=csv,") == complete("lehr evaluate -m hydra/l") == []
    assert complete("lehr results x format=") == [f"format={x}" for x in ("csv", "markdown", "parquet", "table")]


def test_many_runs(complete):
    assert complete("lehr train -m hydra/la") == ["hydra/launcher="]
    assert complete("lehr train -m hydra/launcher=p") == ["hydra/launcher=pool"]
    assert complete("lehr train -m hydra/sweeper=o") == ["hydra/sweeper=optuna"]
    assert complete("lehr train -m hydra.sweep.d") == ["hydra.sweep.dir="]
    assert complete("lehr train -m sweep.retry=") == ["sweep.retry=failed", "sweep.retry=none"]
    assert "sweep=kl_weight" in complete("lehr train -m sweep=")


def test_sample_has_its_keys_and_no_groups(complete):
    keys = {field.alias or name for name, field in SampleConfig.model_fields.items()}
    assert complete("lehr sample ") == sorted("data." if key == "data" else f"{key}=" for key in keys)


def test_flags(complete):
    assert complete("lehr train --co") == ["--config-dir ", "--config-name "]
    assert complete("lehr train --multirn mo") == []


def test_paths(complete):
    Path("out puts").mkdir()
    Path("outputs/run").mkdir(parents=True)
    Path("outputs/x.npy").touch()
    assert complete("lehr train resume=o") == ["resume=outputs/"]
    assert complete("lehr sample run=outputs/") == ["run=outputs/run/", "run=outputs/x.npy"]
    assert complete("lehr train data=arrays data.path=outputs/x") == ["data.path=outputs/x.npy"]
    assert complete("lehr train data.path=nowhere/") == []


def test_a_folder_of_the_user_s_own(complete):
    Path("own/model").mkdir(parents=True)
    Path("own/model/mine.yaml").write_text("defaults: [_common, _self_]\n_target_: mine.VAE\ndepth: 1\n")
    assert complete("lehr train --config-dir own model=m") == ["model=mine", "model=mlp"]
    assert complete("lehr train --config-dir=own model=mine model.d") == ["model.depth="]


@pytest.mark.parametrize("before", ["dir='a b'", "model=mpl", "foo=1", "kl.weight=[1", "seed=1,2", "'half a word"])
def test_what_else_is_on_the_line_does_no_harm(complete, before):
    assert complete(f"lehr train {before} mo") == ["model.", "model="]


@pytest.fixture
def bash(tmp_path):
    """Complete lines in a bash that has evaluated the script; what it offers for each."""
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    program = tmp_path / "bin" / "lehr"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lehr "$@"\n')
    program.chmod(0o755)

    def run(*lines: str) -> list[list[str]]:
        script = [f'PATH="{program.parent}:$PATH"', 'eval "$(lehr completion bash)"']
        for line in lines:
            words = line.split(" ")
            script += [
                f"COMP_LINE='{line}' COMP_POINT={len(line)} COMP_CWORD={len(words) - 1}",
                f"COMP_WORDS=({' '.join(repr(word) for word in words)})",
                "COMPREPLY=()",
                "$(complete -p lehr | sed 's/.*-F \\([^ ]*\\).*/\\1/')",
                'printf "%s|" "${COMPREPLY[@]}"; echo',
            ]
        done = subprocess.run(["bash", "-c", "\n".join(script)], capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stderr) == (0, "")
        return [[word for word in line.split("|") if word] for line in done.stdout.splitlines()]

    return run


@pytest.mark.slow
def test_bash_completes_commands_groups_choices_and_keys(bash):
    assert bash("lehr tr", "lehr train mo", "lehr train model=", "lehr train model.lat", "lehr sample co") == [
        ["train "],
        ["model.", "model="],
        choices("model"),
        ["model.latent_dim="],
        ["covariance="],
    ]


def test_bash_treats_key_and_value_as_one_word(bash, tmp_path):
    script = 'eval "$(lehr completion bash)"; printf %s "$COMP_WORDBREAKS"'
    program = tmp_path / "bin"
    done = subprocess.run(
        ["bash", "-c", f'PATH="{program}:$PATH"; {script}'], capture_output=True, text=True, timeout=100
    )
    assert done.stdout
    assert "=" not in done.stdout


def test_a_shell_that_is_not_known_is_one_line(lehr):
    assert lehr("completion", "fish") == (
        2,
        "",
        "lehr completion: 'fish' is not a shell that is known; there are: bash, zsh\n",
    )
    assert "bashcompinit" in lehr("completion", "zsh")[1]


def test_compare(complete, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "run").mkdir(parents=True)
    assert complete("lehr compare out") == ["out=", "outputs/"]
    assert complete("lehr compare outputs/run outputs/") == ["outputs/run/"]
    assert complete("lehr compare outputs/run split=") == ["split=all", "split=test", "split=train", "split=val"]
    assert complete("lehr compare outputs/run precisions=[bf16-m") == ["precisions=[bf16-mixed"]
    assert complete("lehr compare data=images data.cr") == ["data.crop="]
