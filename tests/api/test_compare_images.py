"""`lehr.compare` of models on the same images, and `lehr compare`: numbers, files, and mistakes in one line each."""

from __future__ import annotations

import copy
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

import lehr as package
from lehr import ConfigError, DataError
from lehr.api.compare import place_of
from lehr.evaluation.autoencoding import decoded
from lehr.run.loaded import LoadedModel, Parts


@pytest.fixture(scope="module")
def run(finished_run):
    return package.load(finished_run)


@pytest.fixture(scope="module")
def worse(run):
    """The same model, whose decoder makes everything a little darker."""
    model = copy.deepcopy(run.model)
    with torch.no_grad():
        list(model.decoder.parameters())[-1].sub_(0.5)
    parts = Parts(model, run.likelihood, run.prior, "other")
    return LoadedModel(Path("darker"), run.config, lambda: parts, None)


@pytest.fixture(scope="module")
def found(run, worse, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "out"
    return package.compare(run, worse, examples=40, swap=True, pictures=6, out=str(out)), out


def test_the_numbers_are_those_of_scikit_image(found, run, worse):
    comparison, _ = found
    data = package.run.objects.build_data(run.config)
    data.setup()
    images = torch.cat([batch.images for batch in data.evaluation_loader("test", "cpu", limit=40)])
    for name, model in (("run", run), ("darker", worse)):
        pictures = [
            (part.double().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
            for part in (images, model.decode(model.encode(images).mean))
        ]
        expected = [peak_signal_noise_ratio(a, b) for a, b in zip(*pictures, strict=True)]
        assert comparison.frame.loc[name, "psnr"] == pytest.approx(np.mean(expected), rel=1e-6)
        gap = pictures[0].astype(float) - pictures[1]
        assert comparison.frame.loc[name, "mse"] == pytest.approx(np.square(gap / 255).mean(), rel=1e-5)
    (pair,) = (pair for pair in comparison.pairs if pair.measure == "psnr")
    difference = comparison.frame.loc["run", "psnr"] - comparison.frame.loc["darker", "psnr"]
    assert pair.difference.estimate == pytest.approx(difference)
    assert comparison.best["psnr"] == pair.best == "run"


def test_latents_have_the_size_and_the_rate_that_can_be_worked_out(found, run):
    comparison, _ = found
    numbers = comparison.frame.loc["run"]
    latents = run.model.latent_shape[0]
    assert numbers["bits"] == 16 * latents
    assert numbers["bits_per_pixel"] == pytest.approx(16 * latents / 64)
    data = package.run.objects.build_data(run.config)
    data.setup()
    images = torch.cat([batch.images for batch in data.evaluation_loader("test", "cpu", limit=40)])
    assert numbers["rate_bits"] == pytest.approx(float(run.encode(images).kl().mean() / np.log(2)), rel=1e-5)
    assert numbers["parameters"] == sum(p.numel() for p in run.model.parameters())


def test_swapped_decoders_show_whose_fault_it_is(found):
    comparison, _ = found
    frame, psnr = comparison.frame, comparison.swap.psnr
    # both encoders are the same, so only the decoder counts
    assert psnr["run"]["run"] == psnr["darker"]["run"] == pytest.approx(frame.loc["run", "psnr"])
    assert psnr["run"]["darker"] == pytest.approx(frame.loc["darker", "psnr"])
    assert "decoded by darker" in repr(comparison)


def test_what_is_written_is_whole_and_the_same_when_it_is_written_again(found, run, worse, tmp_path):
    comparison, out = found
    again = package.compare(run, worse, examples=40, swap=True, pictures=6, out=str(tmp_path / "again"))
    for name in ("comparison.json", "comparison.csv", "comparison.png"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    table = json.loads((out / "comparison.json").read_text())
    assert table["n"] == 40
    assert table["models"]["run"]["compare/psnr"] == again.frame.loc["run", "psnr"]
    assert len((out / "comparison.csv").read_text().splitlines()) == 41
    assert comparison.save(out) == out  # its own may be written anew
    assert "<table" in comparison._repr_html_()


def test_what_was_interrupted_while_it_was_written_is_written_over(found, tmp_path, monkeypatch):
    moved = []

    def interrupted(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        return Path(source).rename(target)

    with monkeypatch.context() as patch:
        patch.setattr("lehr.files.os.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            found[0].save(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.json"]
    found[0].save(tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_folder_of_somebody_elses_is_left_alone(found, tmp_path):
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has a comparison\.json that lehr compare has not made"):
        found[0].save(tmp_path)
    assert (tmp_path / "comparison.json").read_text() == "{}"


def test_another_comparison_is_not_replaced_unasked_and_the_same_one_is(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    comparison = found[0]
    first = comparison.save(place_of(comparison, None))
    assert place_of(comparison, None) == first
    others = replace(comparison, models=[replace(one, place=f"elsewhere/{one.name}") for one in comparison.models])
    assert place_of(others, None) == first.with_name(f"{first.name}-2")
    assert place_of(replace(comparison, images="digits, all"), None) == first.with_name(f"{first.name}-2")


def test_images_may_have_names_that_are_no_text(found, tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    table = replace(found[0], names=[odd] * 40).save(tmp_path) / "comparison.csv"
    assert table.read_text(encoding="utf-8").splitlines()[1].startswith("caf\\udce9,")


def test_of_a_run_without_a_test_split_only_what_it_has_not_seen_is_looked_at(tmp_path):
    from lehr.models import TinyAutoencoder
    from lehr.run.diffusers_folder import write_diffusers

    write_diffusers(tmp_path / "vae", TinyAutoencoder((3, 16, 16), base_channels=4, blocks=[1, 1]))
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((40, 16, 16, 3), dtype=np.float32))
    keys = {"data.path": tmp_path / "images.npy", "data.test_fraction": 0, "data.eval_batch_size": 40}
    run = package.import_model(tmp_path / "vae", tmp_path / "run", data="arrays", **keys)
    for changes in ({"examples": 3}, {"examples": 3, "data.eval_batch_size": 2}):
        assert package.compare(run, run, **changes).images == "images, validation: 3 images of 3 x 16 x 16"


def test_images_of_another_size_whose_latents_are_of_the_same_size_come_back_whole():
    from lehr.models import TinyAutoencoder
    from lehr.objective import Laplace

    model, images = TinyAutoencoder((3, 15, 15), base_channels=4, blocks=[1, 1]).eval(), torch.rand(2, 3, 16, 16)
    z = model.encode(images).mean
    found = decoded(model, Laplace(0.5), z, (16, 16))
    assert found.shape == images.shape
    assert torch.equal(found[:, :, :15, :15], model.decode(z))


def test_the_command_prints_what_is_recorded_and_what_is_measured(lehr, finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "a" / "kl.weight=1")
    one, other = str(finished_run), str(tmp_path / "a" / "kl.weight=1")
    out = tmp_path / "out"
    code, text, err = lehr("compare", one, other, "examples=20", "sizes=[8]", f"out={out}")
    assert (code, err) == (0, "")
    assert "test/elbo" in text  # recorded
    assert "digits, test: 20 images of 1 x 8 x 8" in text
    assert "all are equal" in text
    assert "no difference is shown" in text
    assert "one image, CPU" in text
    assert str(out) in text
    costs = json.loads((out / "comparison.json").read_text())["models"]["run"]["costs"]
    assert [(cost["size"], cost["precision"], cost["note"]) for cost in costs] == [(8, "32-true", "")]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["RUN"], ["say two models or more: runs, diffusers folders or files; RUN is one"]),
        (["RUN", "nothere"], ["nothere: is no run directory and no autoencoder: there is no such file or folder"]),
        (
            ["RUN", "RUN", "splitt=test", "examples=1"],
            ["splitt: unknown key; did you mean split?", "examples=1: must be greater than or equal to 2"],
        ),
        (["RUN", "RUN", "data.siez=8"], ["data.siez: unknown key of the data of RUN; did you mean data.seed?"]),
        (["RUN", "RUN", "out=FILE"], ["out=FILE: is a file; say a folder"]),
        (["-m", "RUN", "RUN"], ["-m: lehr compare takes all models at once"]),
    ],
)
def test_mistakes_are_told_in_a_line_each(lehr, finished_run, tmp_path, words, lines):
    file = tmp_path / "file"
    file.touch()
    places = {"RUN": str(finished_run), "FILE": str(file)}

    def filled(text):
        for name, place in places.items():
            text = text.replace(name, place)
        return text

    code, out, err = lehr("compare", *map(filled, words))
    assert (code, out) == (2, "")
    assert err.splitlines() == [f"lehr compare: {filled(line)}" for line in lines]


def test_images_that_a_model_does_not_take_are_refused_before_they_are_looked_at(run):
    with pytest.raises(DataError) as told:
        package.compare(run, run, split="all", data=np.zeros((8, 3, 8, 8), np.float32) + 0.5)
    assert len(told.value.problems) == 2
    assert "takes images of 1 channel, and these have 3" in told.value.problems[0]
    with pytest.raises(DataError, match="takes images of 8 x 8 alone, and these are 9 x 9"):
        package.compare(run, run, split="all", data=np.zeros((8, 9, 9), np.float32) + 0.5)


def test_without_a_word_of_images_it_is_of_what_was_recorded(finished_run, run):
    assert type(package.compare(finished_run, run)).__name__ == "Comparison"
    with pytest.raises(ConfigError, match="metrics: is for recorded numbers"):
        package.compare(finished_run, run, metrics=["test/elbo"], split="test")


@pytest.mark.slow
def test_a_folder_of_diffusers_beside_another_of_the_same_weights(tmp_path):
    from lehr.models import KLAutoencoder
    from lehr.randomness import seeded
    from lehr.run.diffusers_folder import write_diffusers

    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        with seeded(seed, "weights"):
            model = KLAutoencoder((3, 32, 32), latent_channels=4, base_channels=32, channel_multipliers=[1, 1])
        write_diffusers(tmp_path / name, model)
    images = np.random.default_rng(0).random((12, 3, 31, 33), dtype=np.float32)
    places = [tmp_path / name for name in ("one", "same", "other")]
    found = package.compare(*places, data=images, split="all", swap=True)
    assert list(found.frame.index) == ["one", "same", "other"]
    by = {(pair.first, pair.second): pair for pair in found.pairs if pair.measure == "psnr"}
    assert by["one", "same"].share is None
    assert by["one", "other"].share is not None
    assert found.swap.psnr["one"]["same"] == found.swap.psnr["one"]["one"]
    assert found.images.endswith("all: 12 images of 3 x 31 x 33")
