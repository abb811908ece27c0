"""What a program hands to a finished run is an image, or a latent, of the kind it was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lehr
from lehr.errors import DataError
from lehr.run.sampling import held_out_images


def grey() -> torch.Tensor:
    return torch.full((3, 1, 8, 8), 0.5)


def holed(x: torch.Tensor, value: float) -> torch.Tensor:
    x[1].view(-1)[2] = value
    return x


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (
            (grey() * 255).to(torch.int64),
            r"got torch.int64, expected floating point in \[0, 1\], uint8 or bool: x / 255",
        ),
        ((grey() * 255).to(torch.int16).numpy(), "got int16, expected"),
        ((grey() * 2).to(torch.uint8), "only 0 and 1 as uint8, which means 0 and 1/255"),
        (grey() * 255, "values from 127.5 to 127.5, expected .*x / 255"),
        (grey() * 2 - 1.5, r"values from -0.5 to -0.5, expected \[0, 1\]"),
        (grey() * 2.1, r"values from 1.05 to 1.05, expected \[0, 1\]$"),
        (holed(grey(), float("nan")), "NaN or infinity in 1 of 3, first in number 1"),
        (holed(grey(), float("inf")), "NaN or infinity in 1 of 3, first in number 1"),
        (grey().permute(0, 2, 3, 1), r"shape \(3, 8, 8, 1\), expected \(b, 1, 8, 8\): x.permute\(0, 3, 1, 2\), if"),
        (grey().permute(0, 2, 3, 1).numpy(), r"expected \(b, 1, 8, 8\): x.transpose\(0, 3, 1, 2\), if"),
        (grey().to_sparse(), "got a sparse_coo tensor, expected one whose numbers are all there"),
        (grey().to("meta"), "got a meta tensor, expected one whose numbers are all there"),
        (np.ma.masked_less(grey().numpy(), 0.6), "has masked values; say what they are"),
        (grey()[0], r"shape \(1, 8, 8\), expected .*: x\[None\], if it is a single image"),
        (grey()[:, 0], r"shape \(3, 8, 8\), expected .*: x\[:, None\], if the only channel is left out"),
        (grey().flatten(1), r"shape \(3, 64\), expected"),
        (grey().repeat(1, 3, 1, 1), r"shape \(3, 3, 8, 8\), expected"),
        (holed(grey(), float("nan")).numpy(), "NaN or infinity in 1 of 3, first in number 1"),
        (grey().numpy() * 255, "values from 127.5 to 127.5, expected .*x / 255"),
        (np.array(["a"]), "got <U1, expected"),
        (np.zeros(3).tolist(), "got list, expected a torch.Tensor or a numpy array"),
    ],
)
def test_what_are_no_images_is_refused_in_a_line(finished_run, x, reason):
    with pytest.raises(DataError, match=f"^images: .*{reason}") as caught:
        lehr.load(finished_run).encode(x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("z", "reason"),
    [
        (torch.zeros(3, 20, dtype=torch.int64), "torch.int64"),
        (holed(torch.zeros(3, 20), float("nan")), "NaN or infinity in 1 of 3, first in number 1"),
        (torch.zeros(20), r"shape \(20,\), expected \(b, 20\)"),
        (torch.zeros(3, 20, 1, 1), r"shape \(3, 20, 1, 1\)"),
        (torch.zeros(20, 3), r"shape \(20, 3\)"),
    ],
)
def test_what_are_no_latents_is_refused_in_a_line(finished_run, z, reason):
    with pytest.raises(DataError, match=f"^latents: (got )?{reason}"):
        lehr.load(finished_run).decode(z)


def test_images_of_any_precision_and_none_are_encoded(finished_run):
    run = lehr.load(finished_run)
    wanted = run.encode(grey()).mean
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert torch.equal(run.encode(grey().to(dtype)).mean, wanted)
    assert run.encode(grey()[:0]).mean.shape == (0, 20)
    assert torch.isfinite(run.encode((grey() + 0.5) * (1 + 1e-6)).mean).all()
    assert torch.equal(run.decode(wanted.double()), run.decode(wanted))


def test_levels_of_8_bits_and_arrays_are_the_pixels_that_they_are_in_files(finished_run):
    run = lehr.load(finished_run)
    levels = torch.arange(3 * 64, dtype=torch.uint8).view(3, 1, 8, 8)
    wanted = run.encode(levels.to(torch.float32).div(255))
    for images in (levels, levels.numpy(), levels.numpy().astype(np.float32) / 255, levels.numpy()[::-1][::-1]):
        assert torch.equal(run.encode(images).mean, wanted.mean)
        assert torch.equal(run.encode(images).logvar, wanted.logvar)
    assert torch.equal(run.encode(levels > 99).mean, run.encode((levels > 99).float()).mean)
    doubles = (levels.numpy() / 255).astype(">f8")
    torch.testing.assert_close(run.encode(doubles).mean, wanted.mean)
    assert run.encode(levels[:0].numpy()).mean.shape == (0, 20)


def test_what_is_wrong_in_a_later_block_is_counted_from_the_start(finished_run):
    run, many = lehr.load(finished_run), np.zeros((2500, 1, 8, 8), dtype=np.float32)
    many[[1100, 2400], 0, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN or infinity in 2 of 2500, first in number 1100"):
        run.encode(many)
    many[[1100, 2400], 0, 3, 3] = 1.5
    with pytest.raises(DataError, match=r"values from 0 to 1\.5"):
        run.encode(many)


def test_an_array_on_disk_passes_the_encoder_in_batches(finished_run, tmp_path, monkeypatch):
    run = lehr.load(finished_run)
    pixels = np.random.default_rng(0).integers(0, 256, (1001, 1, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    seen = []
    encode = run.model.encode
    monkeypatch.setattr(run.model, "encode", lambda x: seen.append(len(x)) or encode(x))
    run.config["data"]["eval_batch_size"] = 500
    found = run.encode(np.load(tmp_path / "a.npy", mmap_mode="r"))
    assert seen == [500, 500, 1]
    torch.testing.assert_close(found.mean, encode(torch.from_numpy(pixels) / 255).mean)
    torch.testing.assert_close(run.decode(found.mean), run.likelihood.mean(run.model.decode(found.mean)))


def test_a_held_out_image_is_not_counted_from_the_end(finished_run):
    with pytest.raises(DataError, match="there is no test image -1"):
        held_out_images(lehr.load(finished_run), [-1])
