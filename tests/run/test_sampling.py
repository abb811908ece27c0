"""Pictures from a finished run: the files, and what is in them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import lehr
from lehr import ConfigError, DataError
from lehr.data import Digits
from lehr.evaluation.pictures import image_grid
from lehr.run.sampling import draw_interpolation, draw_samples, held_out_images


@pytest.fixture(scope="module")
def run(finished_run):
    return lehr.load(finished_run)


@pytest.fixture(scope="module")
def test_images():
    data = Digits(
        batch_size=64, eval_batch_size=1000, val_fraction=0.1, binarize="dynamic", seed=0, test_fraction=0.2
    )  # fmt: skip
    data.setup()
    return next(iter(data.evaluation_loader("test", "cpu"))).images


@pytest.mark.parametrize(("method", "covariance"), [("aggregate", "diag"), ("aggregate", "full"), ("prior", "diag")])
def test_samples_are_written_as_a_grid_and_as_values(run, tmp_path, method, covariance):
    images = run.sample(6, method, 3, covariance)
    assert draw_samples(run, 6, method, 3, covariance, tmp_path / "a.png") == [tmp_path / "a.png"]
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), image_grid(images)[0])
    assert draw_samples(run, 6, method, 3, covariance, tmp_path / "deep" / "a.npy") == [tmp_path / "deep" / "a.npy"]
    values = np.load(tmp_path / "deep" / "a.npy")
    assert (values.shape, values.dtype) == ((6, 1, 8, 8), np.float32)
    assert np.array_equal(values, images)
    assert values.min() >= 0
    assert values.max() <= 1


def test_held_out_images_are_those_of_the_test_split_in_the_order_asked_for(run, test_images):
    found = held_out_images(run, [358, 0, 7, 7])
    assert torch.equal(found, test_images[[358, 0, 7, 7]])
    with pytest.raises(DataError, match="no test image 359, they are 0 to 358"):
        held_out_images(run, [0, 359])


def test_an_interpolation_runs_from_one_reconstruction_to_the_other(run, test_images, tmp_path):
    written = draw_interpolation(run, 3, 8, 5, tmp_path / "way.npy")
    assert written == [tmp_path / "way.npy"]
    images = torch.from_numpy(np.load(tmp_path / "way.npy"))
    assert images.shape == (5, 1, 8, 8)
    means = run.encode(test_images[[3, 8]]).mean
    torch.testing.assert_close(images[[0, -1]], run.decode(means), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(images[2:3], run.decode(means.mean(0, keepdim=True)), rtol=1e-5, atol=1e-6)


def test_an_interpolation_is_a_strip_and_an_animation(run, tmp_path):
    written = draw_interpolation(run, 3, 8, 5, tmp_path / "way.png")
    assert written == [tmp_path / "way.png", tmp_path / "way.gif"]
    with Image.open(tmp_path / "way.png") as strip:
        assert strip.size == (5 * 50 + 2, 52)
    with Image.open(tmp_path / "way.gif") as animation:
        assert (animation.n_frames, animation.size) == (8, (52, 52))


def test_a_picture_that_cannot_be_written_is_said_in_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written") as error:
        draw_samples(run, 2, "prior", 0, "diag", tmp_path / "file" / "a.png")
    assert "\n" not in str(error.value)


def test_a_singular_covariance_is_said_to_be_so(finished_run, tmp_path):
    run = lehr.load(shutil.copytree(finished_run, tmp_path / "copy"))
    run.posterior.mean_of_var.zero_()
    run.posterior.signal_covariance.fill_(1.0)
    with pytest.raises(ConfigError, match=r"20 latents has rank 1: .*; use covariance=diag"):
        draw_samples(run, 2, "aggregate", 0, "full", tmp_path / "a.png")


def test_the_validation_split_stands_in_where_there_is_no_test_split(lehr, tmp_path):
    import lehr as package

    pixels = np.random.default_rng(0).random((40, 4, 4), dtype=np.float32)
    np.save(tmp_path / "a.npy", pixels)
    code, *_ = lehr(
        "train", "data=arrays", f"data.path={tmp_path}/a.npy", "data.test_fraction=0", "trainer.max_epochs=2",
        "kl.hold=0", "kl.warmup=1", "model.hidden=[8]", f"dir={tmp_path}/run",
    )  # fmt: skip
    assert code == 0
    run = package.load(tmp_path / "run")
    (found,) = held_out_images(run, [2])
    assert any(np.allclose(found[0], image) for image in pixels)
    with pytest.raises(DataError, match="no val image 4"):
        held_out_images(run, [4])
