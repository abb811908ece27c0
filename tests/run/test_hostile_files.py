"""Files that somebody has made to do harm: nothing in them is executed, nothing elsewhere is read, written or removed.

Each is told in one line that names the file, by every command that meets it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from lehr.cli.main import main

COMMANDS = {
    "sample": ("sample", "n=1"),
    "evaluate": ("evaluate", "level=quick", "examples=20", "iwae_samples=2"),
    "resume": ("train", "trainer.max_epochs=9"),
    "train": ("train", "trainer.max_steps=2", "kl=constant", "overwrite=true", "evaluate=none"),
}
READING = ("sample", "evaluate", "resume")
LAUGHS = "a: &a [lol]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

NAMES = (
    "last.ckpt",
    "model.safetensors",
    "config.json",
    "statistics.safetensors",
    "aggregate-seed0.png",
    "config.yaml",
)
OTHERS = ("status.json", "history.jsonl", "precious.txt")


class Explode:
    def __reduce__(self):
        return (os.mkdir, (os.environ["LEHR_EXPLODED"],))


@pytest.fixture
def outside(tmp_path):
    """Somebody else's folder, with files of the names that a run has."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in (*NAMES, *OTHERS):
        (folder / name).write_text("somebody else's\n")
    return folder


@pytest.fixture
def run_dir(finished_run, tmp_path, monkeypatch):
    monkeypatch.setenv("LEHR_EXPLODED", str(tmp_path / "exploded"))
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished_run, tmp_path / "run")


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def refuses(run_dir, outside, capsys):
    """That a command refuses the run in one line, in which all of `words` are, and touches nothing elsewhere."""

    def check(command: str, *words: str) -> None:
        before = contents(outside)
        name, *options = COMMANDS[command]
        place = {"resume": "resume", "train": "dir"}.get(command, "run")
        code = main([name, f"{place}={run_dir}", *options])
        _, err = capsys.readouterr()
        assert code in (1, 2), err
        lines = [line for line in err.splitlines() if line.startswith("lehr ")]
        assert len(lines) == 1, err
        assert "Traceback" not in err
        for word in words:
            assert word in lines[0]
        assert contents(outside) == before
        assert not Path(os.environ["LEHR_EXPLODED"]).exists()

    return check


@pytest.mark.parametrize("command", ["sample", "resume"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a: !!python/object/apply:os.system ['mkdir exploded']\n", "could not determine a constructor"),
        ("!!python/object/new:os.mkdir [exploded]\n", "could not determine a constructor"),
        (LAUGHS, "it stands for more than"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("[" * 5000, "nested too deeply"),
        ("a: [1, \0]\n", "unacceptable character"),
        ("a: \x1b[31m\n", "unacceptable character"),
        ("- 1\n", "is not a configuration"),
    ],
)  # fmt: skip
def test_a_configuration_is_plain_values_of_a_sensible_size(refuses, run_dir, command, content, reason):
    (run_dir / "config.yaml").write_text(content)
    refuses(command, "config.yaml", reason if reason != "nested too deeply" else "")


@pytest.mark.parametrize("command", READING)
def test_a_large_file_and_what_is_no_file_are_not_read(refuses, run_dir, command):
    path = run_dir / "config.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    refuses(command, "config.yaml", "it has more than 64 MiB")
    path.unlink()
    os.mkfifo(path)
    refuses(command, "config.yaml", "it is no file")
    path.unlink()
    path.mkdir()
    refuses(command, "config.yaml")


@pytest.mark.parametrize("name", ["config.yaml", "status.json", "history.jsonl"])
def test_a_file_that_is_a_link_is_not_read(refuses, run_dir, outside, name):
    (run_dir / name).unlink()
    (run_dir / name).symlink_to(outside / name)
    for command in READING:
        refuses(command, name, "is a link; put there what it leads to")


@pytest.mark.parametrize("name", ["model", "checkpoints", "posterior", "samples"])
def test_a_folder_that_is_a_link_is_neither_read_nor_written_nor_cleared(refuses, run_dir, outside, name):
    shutil.rmtree(run_dir / name)
    (run_dir / name).symlink_to(outside)
    for command in COMMANDS:
        refuses(command, f"{name}: is a link; put there what it leads to")


@pytest.mark.parametrize("name", ["model/model.safetensors", "model/config.json", "checkpoints/last.ckpt",
                                  "posterior/statistics.safetensors", "samples/aggregate-seed0.png"])  # fmt: skip
def test_a_link_within_a_folder_is_not_followed(refuses, run_dir, outside, name):
    path = run_dir / name
    path.unlink(missing_ok=True)
    path.symlink_to(outside / path.name)
    for command in COMMANDS:
        refuses(command, f"{name}: is a link")


def _zip_of(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return stream.getvalue()


def _checkpoints() -> dict[str, bytes]:
    saved, tarred, many = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": Explode()}, saved)
    with tarfile.open(fileobj=tarred, mode="w") as file:
        for name in ("sys_info", "pickle", "../../outside/precious.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = len(data := pickle.dumps(Explode()))
            file.addfile(entry, io.BytesIO(data))
    with zipfile.ZipFile(many, "w") as file:
        for name in ("archive/data.pkl", "archive/../../../outside/precious.txt", "/etc/lehr", "archive/version"):
            file.writestr(name, pickle.dumps(Explode()))
    return {
        "a pickle": pickle.dumps(Explode()),
        "a pickle within tensors": saved.getvalue(),
        "a tar": tarred.getvalue(),
        "a zip that leads out": many.getvalue(),
        "a zip with code": _zip_of("archive/code/__torch__.py", b"import os") + b"",
        "a script": _zip_of("archive/constants.pkl", pickle.dumps(Explode())),
        "cut": saved.getvalue()[:200],
        "nothing": b"",
        "text": b"cos\nmkdir\n(S'exploded'\ntR.",
    }


@pytest.mark.parametrize(
    "kind",
    [
        "a pickle",
        "a pickle within tensors",
        "a tar",
        "a zip that leads out",
        "a zip with code",
        "a script",
        "cut",
        "nothing",
        "text",
    ],
)
def test_nothing_in_a_checkpoint_is_executed(refuses, run_dir, kind):
    for name in ("last.ckpt", "best.ckpt"):
        (run_dir / "checkpoints" / name).write_bytes(_checkpoints()[kind])
    refuses("resume", "last.ckpt")


def _header(header: object, length: int | None = None, rest: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + rest


SAFETENSORS = {
    "nothing": b"",
    "a header of exabytes": _header({}, 2**63),
    "a header longer than the file": _header({}, 1000),
    "no header": struct.pack("<Q", 4) + b"\xff\xff\xff\xff",
    "a tensor beyond the end": _header({"model.a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    "a tensor of 2^80 numbers": _header(
        {"model.a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, rest=bytes(4)
    ),
    "tensors that overlap": _header(
        {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, rest=bytes(4)
    ),
    "a type that there is not": _header(
        {"model.a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}, rest=bytes(4)
    ),
    "a pickle": b"cos\nmkdir\n(S'exploded'\ntR.",
    "metadata that are a list": _header({"__metadata__": [1]}),
}


@pytest.mark.parametrize("name", ["model/model.safetensors", "posterior/statistics.safetensors"])
@pytest.mark.parametrize("kind", SAFETENSORS)
def test_a_file_of_tensors_is_not_believed_what_it_promises(refuses, run_dir, name, kind):
    (run_dir / name).write_bytes(SAFETENSORS[kind])
    refuses("sample", name.partition("/")[0])


def _edited(run_dir: Path, name: str, edit) -> None:
    tensors = load_file(run_dir / name)
    edit(tensors)
    save_file(tensors, run_dir / name)  # without the id of the model


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("model/model.safetensors", lambda t: t[next(k for k in t if k.endswith("weight"))].fill_(float("nan"))),
        ("model/model.safetensors", lambda t: t.update({k: v[:1] for k, v in t.items()})),
        ("model/model.safetensors", lambda t: t.clear()),
        ("posterior/statistics.safetensors", lambda t: t.update(n=torch.zeros(3))),
        ("posterior/statistics.safetensors", lambda t: t.update(n=torch.tensor(float("nan")))),
        ("posterior/statistics.safetensors", lambda t: t.update(latent_shape=torch.tensor([7]))),
        ("posterior/statistics.safetensors", lambda t: t.update(latent_shape=torch.tensor(2.5))),
        ("posterior/statistics.safetensors", lambda t: t.update(mean=torch.full((20,), float("inf")).double())),
        ("posterior/statistics.safetensors", lambda t: t.update(mean=torch.zeros(3))),
        ("posterior/statistics.safetensors", lambda t: t.update(mean_of_var=torch.zeros(20, dtype=torch.int64))),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(refuses, run_dir, name, edit):
    _edited(run_dir, name, edit)
    refuses("sample", name.partition("/")[0])


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "lehr.cli.main.main",
        "lehr.files.write_text",
        "lehr.run.claim.Claim",
        "torch.hub.load",
        "torch.os.system",
        "lehr.sweeps.pool.Pool",
        "lehr.run.load.Run",
        "torch.nn.Linear",
        "lehr.__main__.main",
        "numpy.load",
        "yaml.load",
        "..os.system",
    ],
)
def test_what_is_no_component_is_not_called(refuses, run_dir, target):
    path = run_dir / "model" / "config.json"
    group = ("model", "likelihood", "prior")[len(target) % 3]
    config = json.loads(path.read_text())
    config[group] = {"_target_": target, "command": "mkdir exploded", "path": "exploded"}
    path.write_text(json.dumps(config))
    refuses("sample", "model", target)


@pytest.mark.parametrize("group", ["data", "model", "likelihood", "kl", "optimizer", "callbacks.mine", "logger"])
def test_what_is_no_component_is_not_called_on_resuming(refuses, run_dir, group):
    path = run_dir / "config.yaml"
    config = yaml.safe_load(path.read_text())
    section, _, name = group.partition(".")
    hostile = {"_target_": "os.system", "command": "mkdir exploded"}
    config[section] = {**config[section], name: hostile} if name else hostile
    path.write_text(yaml.safe_dump({**config, "trust": ["os"]}))
    refuses("resume", f"{group.replace('logger', 'logger.system')}._target_=os.system")  # it gets a name
    if section == "data":
        refuses("evaluate", f"{group}._target_=os.system")


@pytest.mark.parametrize(
    "change",
    [
        {"image_shape": [1, 10**9, 10**9]},
        {"image_shape": [-1, 8, 8]},
        {"model": {"_target_": "lehr.models.MLP", "latent_dim": 10**15}},
        {"model": {"_target_": "lehr.models.MLP", "latent_dim": "$(id)"}},
        {"model": {"_target_": "lehr.models.MLP", "hidden": [{}]}},
        {"likelihood": {"_target_": "lehr.objective.Gaussian", "scale": [[]]}},
        {"prior": {"_target_": "lehr.objective.MixturePrior", "components": -3}},
        {"image_shape": ["x" * 100_000] * 3},
        {"model": [["_target_", "os.system"]]},
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(refuses, run_dir, change):
    path = run_dir / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    refuses("sample", "model")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"state": ' * 5000, '{"state": {"done": [1]}}', '{"state": NaN}', "\0", "9" * 6000]
)
def test_a_status_that_is_none_changes_nothing_elsewhere(run_dir, outside, capsys, content):
    (run_dir / "status.json").write_text(content)
    before = contents(outside)
    for name, *options in COMMANDS.values():
        code = main([name, f"{'dir' if name == 'train' else 'run'}={run_dir}", *options])
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert code == 0 or sum(line.startswith("lehr ") for line in err.splitlines()) == 1, err
    assert contents(outside) == before


def test_where_a_run_lies_is_not_what_its_configuration_says(run_dir, outside, capsys):
    path = run_dir / "config.yaml"
    for place in (str(outside), "../outside", "/"):
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "dir": place, "resume": place}))
        before = contents(outside)
        for name, *options in (COMMANDS["sample"], COMMANDS["evaluate"], ("train", "trainer.max_epochs=5")):
            assert main([name, f"{'resume' if name == 'train' else 'run'}={run_dir}", *options]) in (0, 2), (
                capsys.readouterr().err
            )
        assert contents(outside) == before
