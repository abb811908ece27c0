from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.data import Arrays
from lehr.data.arrays import load
from lehr.data.numpy_file import NumpyFile, Stored
from lehr.data.pixels import as_images
from lehr.errors import ConfigError, DataError

HERE = Path("images.npy")


def refused(array: np.ndarray, reason: str, layout: str = "auto") -> None:
    with pytest.raises(DataError, match=reason) as caught:
        as_images(Stored.of(array), layout, HERE)
    assert "images.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stored", "layout", "axes"),
    [
        ((5, 6, 7), "auto", "nhw"),
        ((5, 6, 7, 3), "auto", "nhwc"),
        ((5, 6, 7, 1), "auto", "nhwc"),
        ((5, 4, 6, 7), "auto", "nchw"),
        ((5, 3, 7, 3), "nhwc", "nhwc"),
        ((5, 3, 7, 3), "nchw", "nchw"),
        ((5, 2, 6, 7), "nchw", "nchw"),
    ],
)
def test_axes_end_in_the_order_n_c_h_w(stored: tuple[int, ...], layout: str, axes: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, stored, dtype=np.uint8)
    wanted = np.einsum(f"{axes}->{'nhw' if axes == 'nhw' else 'nchw'}", array)
    wanted = wanted[:, None] if axes == "nhw" else wanted
    np.testing.assert_array_equal(as_images(Stored.of(array), layout, HERE, hidden_white=False).numpy(), wanted)


def test_axes_that_do_not_tell_are_asked_for() -> None:
    refused(np.zeros((5, 3, 7, 3), np.uint8), r"Set data\.layout")
    refused(np.zeros((5, 6, 7, 2), np.uint8), r"Set data\.layout")


def test_a_wrong_number_of_axes_is_refused_with_the_shape() -> None:
    refused(np.zeros((5, 6), np.uint8), r"\(5, 6\)")
    refused(np.zeros((5, 6, 7), np.uint8), r"\(5, 6, 7\), data.layout=nhwc wants 4", layout="nhwc")
    refused(np.zeros((0, 6, 7), np.uint8), "holds no image")


def test_values_that_are_no_pixels_are_refused() -> None:
    refused(np.linspace(-1, 1, 12).reshape(3, 2, 2), "from -1 to 1")
    refused(np.full((3, 2, 2), 255.0), "from 255 to 255")
    refused(np.zeros((3, 2, 2), np.int64), "int64")
    refused(np.eye(3, dtype=np.uint8)[None], "0 and 1 as uint8")
    holes = np.zeros((5, 2, 2), np.float32)
    holes[2, 0, 1], holes[4, 1, 1] = np.nan, np.inf
    refused(holes, "2 of 5 images, first in image 2")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.bool_])
def test_floats_and_bools_become_float32(dtype: type) -> None:
    array = np.array([0, 1, 1, 0], dtype).reshape(1, 2, 2)
    images = as_images(Stored.of(array), "auto", HERE)
    assert images.dtype == torch.float32
    assert images.flatten().tolist() == [0, 1, 1, 0]


def test_an_npz_of_several_arrays_wants_a_key_and_lists_them(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, faces=np.zeros((2, 3, 3)), labels=np.arange(2))
    with pytest.raises(DataError, match=r"set data\.key to one of faces, labels"):
        load(path, None, None)
    with pytest.raises(DataError, match=r"data\.key: .* no array 'face', only faces, labels"):
        load(path, "face", None)
    images, labels = load(path, "faces", "labels")
    assert images.shape == (2, 3, 3)
    assert labels is not None
    assert labels.tolist() == [0, 1]


def test_damaged_and_pickled_files_are_refused_in_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.save(tmp_path / "whole.npy", np.zeros((4, 8, 8)))
    np.savez(tmp_path / "whole.npz", a=np.zeros((4, 8, 8)))
    for suffix in ("npy", "npz"):
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"short.{suffix}").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.npy").write_text("hello")
    for name, reason in (
        ("objects.npy", "holds Python objects"),
        ("short.npy", "is damaged"),
        ("short.npz", "cannot be read as a NumPy file"),
        ("text.npy", "is no NumPy file"),
    ):
        with pytest.raises(DataError, match=f"{name} {reason}") as caught:
            load(tmp_path / name, None, None)
        assert "\n" not in str(caught.value)


def test_splits_hold_every_example_once_with_its_label(tmp_path: Path, common: dict[str, Any]) -> None:
    n = 100
    array = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 4, 4))
    np.savez(tmp_path / "a.npz", x=array, y=np.stack([np.arange(n), np.arange(n) % 7], 1))
    data = Arrays(path=str(tmp_path / "a.npz"), key="x", labels_key="y", test_fraction=0.3, **common)
    data.setup()
    assert (data.n_train, data.n_val, data.n_test) == (56, 14, 30)
    seen = []
    for split in ("train", "val", "test"):
        values = torch.cat([batch.images[:, 0, 0, 0] for batch in data.evaluation_loader(split, "cpu")])
        labels = data.images(split).labels
        assert labels is not None
        assert (values * 255).round().long().equal(labels[:, 0])
        assert (labels[:, 0] % 7).equal(labels[:, 1])
        seen += labels[:, 0].tolist()
    assert sorted(seen) == list(range(n))


def test_a_test_file_is_taken_whole_and_must_have_the_same_shape(tmp_path: Path, common: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for name, shape in (("train", (20, 4, 4)), ("test", (9, 4, 4)), ("other", (9, 5, 4))):
        np.save(tmp_path / f"{name}.npy", rng.random(shape))
    paths = {"path": str(tmp_path / "train.npy"), "test_path": str(tmp_path / "test.npy")}
    data = Arrays(**paths, **common)
    data.setup()
    assert (data.name, data.n_train, data.n_val, data.n_test) == ("train", 16, 4, 9)
    with pytest.raises(DataError, match=r"\(1, 5, 4\)"):
        Arrays(**paths | {"test_path": str(tmp_path / "other.npy")}, **common).setup()


def test_labels_that_do_not_fit_the_images_are_refused(tmp_path: Path, common: dict[str, Any]) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((20, 4, 4)), short=np.arange(19), real=np.zeros(20))
    for key in ("short", "real"):
        with pytest.raises(DataError, match=r"data\.labels_key"):
            Arrays(path=str(tmp_path / "a.npz"), key="x", labels_key=key, **common).setup()


def test_all_mistakes_of_the_configuration_are_named_at_once(common: dict[str, Any], tmp_path: Path) -> None:
    wrong = {"batch_size": 0, "val_fraction": 1.0, "binarize": "dynamics"}
    data = Arrays(path=None, test_path=str(tmp_path / "x.npy"), layout="hwc", test_fraction=1.5, **common | wrong)
    with pytest.raises(ConfigError) as caught:
        data.prepare_data()
    keys = [re.split("[:=]", line)[0] for line in caught.value.problems]
    assert sorted(keys) == sorted(
        f"data.{key}"
        for key in ("batch_size", "val_fraction", "binarize", "path", "test_path", "test_fraction", "layout")
    )


def test_training_and_test_images_of_one_file(tmp_path: Path, common: dict[str, Any]) -> None:
    def images(n: int, level: int) -> np.ndarray:
        return np.full((n, 4, 4), level, np.uint8)

    path = tmp_path / "a.npz"
    np.savez(path, x_train=images(20, 7), y_train=np.zeros(20, int), x_test=images(9, 8), y_test=np.ones(9, int))
    keys = {"key": "x_train", "labels_key": "y_train", "test_key": "x_test", "test_labels_key": "y_test"}
    data = Arrays(path=str(path), **keys, **common)
    data.setup()
    assert (data.n_train, data.n_val, data.n_test) == (16, 4, 9)
    for split, level, label in (("train", 7, 0), ("test", 8, 1)):
        pixels = torch.cat([batch.images for batch in data.evaluation_loader(split, "cpu")])
        assert (pixels * 255).round().unique().tolist() == [level]
        assert data.images(split).labels.unique().tolist() == [label]
    np.savez(tmp_path / "b.npz", x_test=images(5, 9), y_test=np.ones(5, int))
    data = Arrays(path=str(path), test_path=str(tmp_path / "b.npz"), **keys, **common)
    data.setup()
    assert data.n_test == 5


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"key": "x", "test_key": "x"}, r"data\.test_key=x: is data\.key"),
        ({"key": "x", "labels_key": "y", "test_key": "z"}, r"data\.test_labels_key: is missing"),
        ({"key": "x", "labels_key": "y", "test_labels_key": "y"}, r"data\.test_labels_key: .*set data\.test_key"),
    ],
)
def test_keys_of_the_test_split_that_cannot_be_meant_are_refused(
    tmp_path: Path, common: dict[str, Any], keys: dict[str, str], reason: str
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((20, 4, 4)), z=np.zeros((20, 4, 4)), y=np.arange(20))
    with pytest.raises(ConfigError, match=reason):
        Arrays(path=str(tmp_path / "a.npz"), **keys, **common).setup()


@pytest.mark.parametrize("keys", [{"test_key": "x"}, {"key": "x", "test_key": "x.npy"}])
@pytest.mark.parametrize("named", [False, True])
def test_an_array_is_not_both_trained_on_and_tested_on_by_two_names(
    tmp_path: Path, common: dict[str, Any], keys: dict[str, str], named: bool
) -> None:
    path = str(tmp_path / "a.npz")
    np.savez(path, x=np.random.default_rng(0).random((20, 4, 4)))
    with pytest.raises(DataError, match=rf"data\.test_key={keys['test_key']} is the array that is trained on"):
        Arrays(path=path, test_path=path if named else None, **keys, **common).setup()


def test_a_missing_array_of_the_test_split_is_named_by_its_option(tmp_path: Path, common: dict[str, Any]) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((20, 4, 4)), y=np.arange(20))
    with pytest.raises(DataError, match=r"data\.test_key: .* no array 'x_test', only x, y"):
        Arrays(path=str(tmp_path / "a.npz"), key="x", test_key="x_test", **common).setup()


def test_opacity_is_put_on_a_background_as_pillow_does(tmp_path: Path, common: dict[str, Any]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 4), dtype=np.uint8)
    array[:, :3, :, 3], array[:, 3:6, :, 3] = 0, 255
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "real.npy", array / 255)
    for background in ("white", "black"):
        behind = Image.new("RGBA", (16, 16), background)
        theirs = np.stack([np.asarray(Image.alpha_composite(behind, Image.fromarray(one)))[..., :3] for one in array])
        ours = as_images(NumpyFile(tmp_path / "a.npy").stored(None), "auto", HERE, background=background)
        assert ours.dtype == torch.uint8
        difference = (ours.permute(0, 2, 3, 1).int() - torch.from_numpy(theirs).int()).abs()
        assert difference.max() <= 1  # Pillow rounds twice
        assert difference.double().mean() < 0.01
        assert not difference[:, :6].any()
        real = as_images(NumpyFile(tmp_path / "real.npy").stored(None), "auto", HERE, background=background)
        assert (real * 255 - ours).abs().max() <= 0.5 + 1e-4
    data = Arrays(path=str(tmp_path / "a.npy"), background="white", **common)
    data.setup()
    assert data.shape == (3, 16, 16)


def test_what_has_no_opacity_has_no_background(tmp_path: Path, common: dict[str, Any]) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 5, 5, 3)))
    with pytest.raises(DataError, match=r"data\.background=white: .*a\.npy has 3 channels, .* data\.background=null"):
        Arrays(path=str(tmp_path / "a.npy"), background="white", **common).setup()


def test_enlarged_images_are_the_pixels_repeated(tmp_path: Path, common: dict[str, Any]) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8))
    plain, large = (Arrays(path=str(tmp_path / "a.npy"), enlarge=n, **common) for n in (1, 3))
    for data in (plain, large):
        data.setup()
    assert large.shape == (3, 18, 15)
    assert large.part("test", 1).shape == (3, 18, 15)
    assert large.fingerprint.difference(plain.fingerprint) is None
    for split in ("train", "test"):
        before, after = (
            torch.cat([batch.images for batch in data.evaluation_loader(split, "cpu")]) for data in (plain, large)
        )
        assert after.equal(torch.kron(before, torch.ones(1, 1, 3, 3)))
