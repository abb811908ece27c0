"""The wheel holds everything: installed elsewhere, without this checkout, it trains."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SHORT = ("trainer.max_epochs=1", "kl=constant", "model.hidden=[8]", "callbacks.samples.n=4")


def run(*command: object, cwd: Path, timeout: int = 200) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HYDRA_FULL_ERROR")}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    done = run(*pip, "wheel", ROOT, "--no-deps", "--quiet", "--wheel-dir", folder, cwd=folder)
    if "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("building needs hatchling, and the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A clean environment with nothing but the wheel; it sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    done = run(*pip, "install", "--no-deps", "--quiet", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    (site,) = (folder / "lib").glob("python*/site-packages")
    # the .pth files in a folder that is named by a .pth file are not read: an editable lehr there stays unseen
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_configuration(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    conf = {f"lehr/conf/{path.relative_to(ROOT / 'conf').as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    package = {f"lehr/{path.relative_to(ROOT / 'src/lehr').as_posix()}" for path in (ROOT / "src/lehr").rglob("*.py")}
    assert conf
    assert conf | package | {"lehr/py.typed"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"lehr"}


@pytest.mark.slow
def test_lehr_runs_from_the_wheel_alone(installed, tmp_path):
    lehr, python = installed / "bin" / "lehr", installed / "bin" / "python"
    assert Path(run(python, "-c", "import lehr; print(lehr.__file__)", cwd=tmp_path).stdout).is_relative_to(installed)

    done = run(lehr, "train", "--cfg", "job", "experiment=mnist", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert yaml.safe_load(done.stdout)["data"]["_target_"] == "lehr.data.MNIST"
    assert list(tmp_path.iterdir()) == []

    done = run(lehr, "train", "dir=run", *SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["model"]["hidden"] == [8]
    made = {path.name.partition(".tfevents")[0] for path in (tmp_path / "run").iterdir()}
    assert made == {
        *("checkpoints", "config.yaml", "data.json", "evaluation.json", "events.out", "history.jsonl", "metrics.json"),
        *("model", "posterior", "projector", "projector_config.pbtxt", "samples", "status.json"),
    }
