"""The latents of images of the split that a model is judged by, as they lie in a run directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import lehr as library
from lehr.config.build import build
from lehr.data.batch import Batch
from lehr.data.module import ImageDataModule
from lehr.models.mlp import MLP
from lehr.posterior import DiagonalGaussian
from lehr.run.directory import RunDirectory
from lehr.run.latents import FirstLatents, Latents, write_latents
from lehr.tensors import read_metadata

SMALL = ("trainer.max_epochs=1", "kl=constant", "model.hidden=[8]", "evaluate=none", "logger=none")


def latents(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    path = run / "posterior" / "latents.safetensors"
    return load_file(path), read_metadata(path)


def test_they_are_those_of_the_test_images_with_their_labels(finished_run):
    found, about = latents(finished_run)
    run = library.load(finished_run)
    assert about == {"model": run.model_id, "of": "latent", "split": "test"}
    data = build(RunDirectory(finished_run).read_config()["data"], ImageDataModule, key="data")
    data.setup()
    images = torch.cat([batch.images for batch in data.evaluation_loader("test", "cpu")])
    torch.testing.assert_close(found["mean"], run.encode(images).mean, rtol=1e-5, atol=1e-6)
    assert torch.equal(found["thumbnails"], (images * 255).round().to(torch.uint8))
    assert found["rows"].tolist() == list(range(359))
    assert torch.equal(found["labels"], data.images("test").labels)


def collected(batches, n, latent, image):
    """What two processes collect of n posteriors and images, each of every other batch, added up."""
    parts = []
    for rank in (0, 1):
        first = FirstLatents(n, latent[0], image)
        start = 0
        for i, (posterior, images) in enumerate(batches):
            if i % 2 == rank:
                first.update(Batch(images, start, 0), posterior)
            start += len(images)
        parts.append(first.compute())
    return [one + other for one, other in zip(*parts, strict=True)]


def test_each_row_is_filled_in_by_the_process_that_has_it_and_the_rest_is_left_out():
    means = torch.randn(11, 3)
    images = torch.rand(11, 1, 4, 4)
    batches = [(DiagonalGaussian(m, m), x) for m, x in zip(means.split(3), images.split(3), strict=True)]
    mean, thumbnails = collected(batches, 7, (3,), (1, 4, 4))
    assert torch.equal(mean, means[:7])
    assert torch.equal(thumbnails, (images[:7] * 255).round().to(torch.uint8))


def test_of_a_latent_map_it_is_the_mean_over_positions_and_of_a_large_image_that_of_its_areas():
    means, images = torch.randn(5, 2, 6, 3), torch.rand(5, 3, 24, 12)
    batches = [(DiagonalGaussian(m, m), x) for m, x in zip(means.split(3), images.split(3), strict=True)]
    mean, thumbnails = collected(batches, 5, (2, 6, 3), (3, 8, 4))
    torch.testing.assert_close(mean, means.mean((2, 3)))
    areas = images.numpy().reshape(5, 3, 8, 3, 4, 3).mean((3, 5))
    np.testing.assert_allclose(thumbnails.numpy(), areas * 255, atol=0.5001)


@pytest.mark.parametrize(
    ("shape", "thumbnail"),
    [((1, 4, 4), (1, 4, 4)), ((3, 64, 64), (3, 32, 32)), ((1, 100, 40), (1, 32, 13)), ((1, 1, 900), (1, 1, 32))],
)
def test_the_longer_side_of_a_thumbnail_is_32_pixels_at_most(shape, thumbnail):
    data = SimpleNamespace(shape=shape, images=lambda split: range(7))
    first = FirstLatents.of(MLP(shape, hidden=[4], latent_dim=2), data, "test", 500)
    assert first.thumbnails.shape == (7, *thumbnail)
    assert first.mean.shape == (7, 2)


def test_without_a_test_split_they_are_of_the_validation(lehr, tmp_path):
    pixels = np.random.default_rng(0).random((40, 4, 4), dtype=np.float32)
    np.save(tmp_path / "a.npy", pixels)
    words = ("data=arrays", f"data.path={tmp_path}/a.npy", "data.test_fraction=0", "callbacks.samples.latents=3")
    assert lehr("train", *words, *SMALL, f"dir={tmp_path}/run")[0] == 0
    found, about = latents(tmp_path / "run")
    assert (about["split"], len(found["mean"])) == ("val", 3)
    assert "labels" not in found


@pytest.mark.parametrize("off", ["callbacks.samples.latents=0", "callbacks.samples=null"])
def test_where_none_are_wanted_those_of_an_earlier_model_do_not_stay(finished_run, tmp_path, lehr, off):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    assert lehr("train", f"resume={run}", "trainer.max_epochs=5", "evaluate=none", off)[0] == 0
    assert not (run / "posterior" / "latents.safetensors").exists()
    assert (run / "posterior" / "statistics.safetensors").exists()


def test_names_of_classes_are_kept_and_a_file_is_the_same_each_time(tmp_path):
    what = Latents(torch.zeros(2, 1), torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.arange(2),
                   torch.zeros(2, 4, dtype=torch.int64), "val", "channel", ('"a"', "é\n"))  # fmt: skip
    written = set()
    for _ in range(8):
        write_latents(tmp_path, what, "an id")
        written.add((tmp_path / "latents.safetensors").read_bytes())
    assert len(written) == 1
    about = {"model": "an id", "split": "val", "of": "channel", "classes": '["\\"a\\"", "\\u00e9\\n"]'}
    assert read_metadata(tmp_path / "latents.safetensors") == about
    assert load_file(tmp_path / "latents.safetensors")["labels"].shape == (2, 4)
