"""What a run was trained and tested on stays what it was: on resuming, in an evaluation, in an interpolation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lehr.cli.main import main

QUICK = ("kl=constant", "evaluate=none", "model.hidden=[8]", "logger=none", "callbacks.samples=null")
OF_FOLDER = (*QUICK, "data=images", "data.size=8", "data.workers=0", "likelihood=gaussian", "data.batch_size=16")


def make_photos(folder: Path, n: int = 60, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for i in range(n):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / "ab"[i % 2] / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with `photos`, and with a `run` of one epoch of them. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    make_photos(folder / "photos")
    words = (*OF_FOLDER, f"data.path={folder / 'photos'}", f"dir={folder / 'run'}", "trainer.max_epochs=1")
    assert main(["train", *words]) == 0
    return folder


@pytest.fixture
def run(trained) -> Path:
    """The run in the current directory, and `photos`, which are its data now."""
    shutil.copytree(trained / "run", "run")
    shutil.copytree(trained / "photos", "photos")
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    config["data"]["path"] = str(Path("photos").absolute())
    Path("run/config.yaml").write_text(yaml.safe_dump(config))
    return Path("run")


COMMANDS = {
    "resume": ("train", "resume=run", "trainer.max_epochs=2"),
    "evaluate": ("evaluate", "run=run", "level=quick"),
    "interpolate": ("sample", "run=run", "method=interpolate"),
}


def files_of(split: str) -> list[str]:
    return json.loads(Path("run/data.json").read_text())["splits"][split]["files"]


@pytest.fixture(params=COMMANDS)
def line(request, lehr):
    """One of the commands that read the data of a run: what it says, in one line, where it refuses to."""

    def command(*more: str) -> str:
        before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
        code, _, err = lehr(*COMMANDS[request.param], *more)
        if code == 0:
            return ""
        assert err.count("\n") == 1, err
        assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
        return err.partition(": ")[2].strip()

    return command


def test_a_file_that_is_gone_is_named(run, line):
    name = files_of("test")[0]
    (Path("photos") / name).unlink()
    found = line()
    assert found.startswith(f"photos: not the data that the run was trained on: gone: {name}; ")
    assert "had 49" in found


def test_a_damaged_file_that_is_skipped_makes_another_split(run, lehr):
    name = files_of("test")[0]
    (Path("photos") / name).write_bytes(b"hello")
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=2", "data.on_corrupt=skip")
    assert code == 1
    assert f"not the data that the run was trained on: gone: {name}; " in err


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_file_that_was_replaced_is_named(run, line, split):
    name = files_of(split)[2]
    other = next(path for path in make_photos(Path("others"), 4, seed=1).rglob("*.png"))
    shutil.copy(other, Path("photos") / name)
    assert f"{split} has others, the first is image 2 ({name})" in line()


def test_data_that_have_moved_are_found_where_one_says_they_are(run, line):
    Path("photos").rename("elsewhere")
    found = line()
    assert found.startswith("data.path: there is no folder ") or "data.path=" in found
    assert line("data.path=elsewhere") == ""


def test_other_data_are_not_taken_for_moved_ones(run, line):
    make_photos(Path("others"), seed=1)
    assert "others: not the data that the run was trained on: train has others" in line("data.path=others")


def test_where_data_have_moved_to_is_kept_on_resuming(run, lehr):
    Path("photos").rename("elsewhere")
    assert lehr("train", "resume=run", "trainer.max_epochs=2", "data.path=elsewhere")[0] == 0
    assert Path(yaml.safe_load(Path("run/config.yaml").read_text())["data"]["path"]).samefile("elsewhere")
    assert lehr("evaluate", "run=run", "level=quick")[0] == 0


def test_a_key_that_the_data_have_not_is_one_line(run, refused):
    (found,) = refused("evaluate", "run=run", "data.root=photos")
    assert found == "data.root: lehr.data.ImageFolder of this run has no such key"


def test_a_file_of_arrays_that_has_grown_is_refused(lehr):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    np.save("pixels.npy", pixels)
    words = (*QUICK, "data=arrays", "data.path=pixels.npy", "likelihood=gaussian")
    assert lehr("train", *words, "dir=run", "trainer.max_epochs=1")[0] == 0
    np.save("pixels.npy", np.concatenate([pixels, pixels]))
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=2")
    assert code == 1
    assert "pixels: not the data that the run was trained on: train has 97 images, had 49; " in err


def test_a_run_of_an_earlier_version_knows_nothing_of_its_data(run, lehr):
    Path("run/data.json").unlink()
    path = Path("run/checkpoints/last.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["data"]
    torch.save(checkpoint, path)
    shutil.copy(Path("photos") / files_of_photos()[0], Path("photos") / files_of_photos()[1])
    for command in COMMANDS.values():
        assert lehr(*command)[0] == 0
    assert Path("run/data.json").exists()


def files_of_photos() -> list[str]:
    return sorted(path.relative_to("photos").as_posix() for path in Path("photos").rglob("*.png"))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_damaged_file_of_any_split_is_found_before_training(trained, lehr, split):
    recorded = json.loads((trained / "run" / "data.json").read_text())
    name = recorded["splits"][split]["files"][0]
    shutil.copytree(trained / "photos", "photos")
    content = (Path("photos") / name).read_bytes()
    (Path("photos") / name).write_bytes(content[: len(content) // 2])
    code, out, err = lehr("train", *OF_FOLDER, "data.path=photos", "dir=run")
    assert (code, out) == (1, "")
    assert f"photos/{name} cannot be read as an image: " in err
    assert err.endswith("; repair it, or leave such files out with data.on_corrupt=skip\n")
    assert not Path("run/checkpoints").exists()


def test_what_was_skipped_is_listed_and_said_at_the_end(trained, lehr):
    shutil.copytree(trained / "photos", "photos")
    names = files_of_photos()[3:5]
    for name in names:
        (Path("photos") / name).write_bytes(b"hello")
    shutil.copytree(trained / "photos" / "a", "photos/.thumbnails")
    words = (*OF_FOLDER, "data.path=photos", "dir=run", "trainer.max_epochs=1", "data.on_corrupt=skip")
    code, out, err = lehr("train", *words)
    assert code == 0, err
    assert "note: left out: 30 hidden; data.json lists them\n" in err
    assert "  left out     30 hidden, listed in run/data.json\n" in out
    assert "note: 2 damaged files are skipped; data.json lists them\n" in err
    assert "  skipped      2 damaged files, listed in run/data.json\n" in out
    skipped = json.loads(Path("run/data.json").read_text())["skipped"]
    assert [line.partition(" cannot be read as an image: ")[0] for line in skipped] == names


def test_images_of_one_split_that_are_in_another_too_are_counted(lehr):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    np.save("train.npy", pixels)
    np.save("test.npy", np.concatenate([pixels[:7], 255 - pixels[:13]]))
    words = (*QUICK, "data=arrays", "data.path=train.npy", "data.test_path=test.npy", "likelihood=gaussian")
    code, _, err = lehr("train", *words, "data.val_fraction=0.02", "dir=run", "trainer.max_epochs=1")
    assert code == 0
    equal = json.loads(Path("run/data.json").read_text())["equal"]
    assert sum(equal.values()) == 7
    n = equal["train test"]
    assert f"note: byte for byte, {n} of 20 test images are in the training set too" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("data=images", "data.path=photos", "data.test_path=photos/a"),
            "/photos/a: lies within data.path=",
        ),
        (("data=images", "data.path=photos", "data.test_path=photos/../photos"), "is data.path: 60 of 60 test images "),
        (("data=arrays", "data.path=x.npy", "data.test_path=y.npy"), "is data.path, so that all test images "),
    ],
)
def test_a_test_set_within_the_training_set_is_one_line(lehr, words, said):
    make_photos(Path("photos"))
    np.save("x.npy", np.zeros((30, 4, 4), np.uint8))
    Path("y.npy").symlink_to("x.npy")
    code, out, err = lehr("train", *QUICK, *words, "likelihood=gaussian", "dir=run")
    assert (code, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1


def test_what_was_found_in_the_files_stays_said_when_a_run_goes_on(tmp_path, monkeypatch, lehr):
    monkeypatch.chdir(tmp_path)
    make_photos(Path("photos"))
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save("photos/a/moving.gif", save_all=True, append_images=frames[1:])
    words = (*OF_FOLDER, "data.path=photos", "dir=moving", "trainer.max_epochs=1")
    assert lehr("train", *words)[0] == 0
    before = json.loads(Path("moving/data.json").read_text())["left_out"]
    assert before == {"further pictures in a file": {"n": 1, "files": ["a/moving.gif"]}}
    assert lehr("train", "resume=moving", "trainer.max_epochs=2")[0] == 0
    assert json.loads(Path("moving/data.json").read_text())["left_out"] == before


def test_a_run_of_an_earlier_version_keeps_the_colours_under_transparent_pixels(tmp_path, monkeypatch, lehr):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 4), dtype=np.uint8)
    images[..., 3] *= np.uint8(images[..., 3] > 200)
    np.save("a.npy", images)
    words = (*QUICK, "data=arrays", "data.path=a.npy", "likelihood=gaussian", "data.batch_size=16")
    words = (*words, "trainer.max_epochs=1", "data.layout=nhwc")
    assert lehr("train", *words, "data.hidden=keep", "dir=run")[0] == 0
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    del config["data"]["hidden"]  # which it had not
    Path("run/config.yaml").write_text(yaml.safe_dump(config))
    data = Path("run/data.json").read_text()
    assert lehr("evaluate", "run=run", "level=quick")[0] == 0
    assert lehr("train", "resume=run", "trainer.max_epochs=2")[0] == 0
    assert Path("run/data.json").read_text() == data
    Path("run/data.json").unlink()
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    del checkpoint["data"]
    torch.save(checkpoint, "run/checkpoints/last.ckpt")
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=3", "data.hidden=white")
    assert code != 0
    assert "data.hidden=white: a resumed run keeps its own data.hidden=keep" in err
