from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.data import MNIST, Arrays, ImageDataModule
from lehr.data.images import ArrayImages
from lehr.data.splits import Splits
from lehr.data.survey import survey
from lehr.data.survey.canvas import fitting
from lehr.data.survey.picture import is_own, save
from lehr.errors import DataError


def images_with_repetitions(n: int) -> np.ndarray:
    array = np.random.default_rng(0).integers(0, 256, (n, 6, 6), dtype=np.uint8)
    array[[30, 40, 41]] = array[3]
    array[50] = array[4]
    array[60] = 77
    return array


def test_equal_images_of_an_array_are_those_that_a_comparison_of_all_pairs_finds(tmp_path, common):
    labels = np.arange(80) % 5
    np.savez(tmp_path / "a.npz", images=images_with_repetitions(80), labels=labels)
    data = Arrays(path=str(tmp_path / "a.npz"), key="images", labels_key="labels", test_fraction=0.3, **common)
    found = survey(data)
    places = [(split, row) for split, n in found.n.items() for row in range(n)]
    pixels = {
        place: next(data.images(place[0]).fetch([torch.tensor([place[1]])], epoch=None, device="cpu"))
        for place in places
    }
    pairs = {frozenset(pair) for pair in combinations(places, 2) if pixels[pair[0]].equal(pixels[pair[1]])}
    assert {frozenset(pair) for group in found.equal.groups for pair in combinations(group, 2)} == pairs
    assert len(pairs) == 6 + 1
    assert found.equal.n_groups == 2
    assert found.equal.contradicting == 2  # 3 and 4 against 30, 40, 41, 50 of other classes
    for split in found.n:
        rows = [row for one, row in places if one == split]
        repeated = sum(any(frozenset([(split, i), (split, j)]) in pairs for j in rows if j < i) for i in rows)
        assert found.equal.within(split) == repeated
    for (one, other), n in found.equal.across().items():
        firsts = [place for place in places if place[0] == one]
        assert n == sum(any(frozenset([(other, i), p]) in pairs for p in firsts) for i in range(found.n[other]))
    (constant,) = found.finding("constant").names
    split, row = constant.split()
    assert pixels[split, int(row)].unique().tolist() == [torch.tensor(77 / 255).item()]


def test_factors_are_counted_each_by_itself(tmp_path, common):
    factors = np.stack([np.arange(60) % 3, np.arange(60) // 30, np.full(60, 9)], 1)
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).random((60, 4, 4)), labels=factors)
    data = Arrays(path=str(tmp_path / "a.npz"), key="images", labels_key="labels", **common)
    found = survey(data)
    assert [(one.name, one.values) for one in found.factors] == [
        ("factor 0", (0, 1, 2)), ("factor 1", (0, 1)), ("factor 2", (9,)),
    ]  # fmt: skip
    for i, one in enumerate(found.factors):
        for split in found.n:
            assert one.counts[split] == tuple((data.images(split).labels[:, i] == value).sum() for value in one.values)


def test_a_class_that_a_split_lacks_is_named(tmp_path, common):
    labels = np.r_[np.zeros(39, int), 1]
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).random((40, 4, 4)), labels=labels)
    found = survey(Arrays(path=str(tmp_path / "a.npz"), key="images", labels_key="labels", **common))
    lacking = {split for split in found.n if found.finding(f"values absent from {split}")}
    assert len(lacking) == 2
    assert all(found.finding(f"values absent from {split}").names == ("1",) for split in lacking)


class _Wrong(ImageDataModule):
    """Gives what no data set may."""

    def read(self) -> Splits:
        pixels = torch.rand((40, 1, 4, 4), generator=torch.manual_seed(0))
        pixels[::10, 0, 0, 0] = torch.nan
        whole = ArrayImages(pixels)
        return Splits("wrong", whole, ArrayImages(pixels[:10] * 3))


def test_pixels_that_are_none_are_a_line_for_each_split(common):
    with pytest.raises(DataError) as caught:
        survey(_Wrong(**common))
    assert len(caught.value.problems) == 3
    assert caught.value.problems[2] == (
        "wrong: 10 of 10 test images have pixels that are NaN or not in [0, 1], which a data set must not give"
    )


def test_progress_is_told_of_every_image(tmp_path, common):
    np.save(tmp_path / "a.npy", images_with_repetitions(70))
    told: dict[str, list[int]] = {}

    class Line:
        def __init__(self, name: str, total: int) -> None:
            told[name] = self.seen = [total]

        def advance(self, steps: int = 1) -> None:
            self.seen.append(steps)

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            self.seen.append(0)

    found = survey(Arrays(path=str(tmp_path / "a.npy"), **common), Line)
    assert {name: (seen[0], sum(seen[1:]), seen[-1]) for name, seen in told.items()} == {
        f"looking at {split}": (n, n, 0) for split, n in found.n.items()
    }


def test_all_numbers_are_plain(of_bad):
    plain = of_bad.plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["splits"]["train"]["mean"] == of_bad.train.overall_mean
    assert [one["kind"] for one in plain["findings"]] == [one.kind for one in of_bad.findings]


def test_the_picture_shows_the_examples_as_they_are(of_bad):
    shown = np.asarray(of_bad.picture)
    assert shown.shape[1] == 1120
    assert of_bad.picture is of_bad.picture
    tile = next(strip for strip in of_bad.strips if strip.label == "test").tiles[0].pixels
    enlarged = tile.repeat(4, 0).repeat(4, 1)
    first = enlarged[0, :8].tobytes()  # eight pixels of noise are found nowhere else
    rows = [(y, shown[y].tobytes().find(first)) for y in range(shown.shape[0])]
    top, place = next((y, at) for y, at in rows if at >= 0)
    left = place // 3
    np.testing.assert_array_equal(shown[top : top + 64, left : left + 64], enlarged)


def test_a_picture_knows_that_it_is_lehr_s(of_bad, tmp_path):
    save(of_bad.picture, tmp_path / "a.png")
    Image.new("L", (3, 3)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no picture")
    assert [is_own(tmp_path / name) for name in ("a.png", "b.png", "c.png", "d.png")] == [True, False, False, False]
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == of_bad.picture.size


@pytest.mark.slow
def test_mnist_is_as_it_is_known(data_root, common):
    found = survey(MNIST(root=str(data_root / "mnist"), **{**common, "binarize": "dynamic"}))
    assert sum(found.n.values()) == 70_000
    n = np.array([found.pixels[split].n for split in ("train", "val")])
    mean = np.array([found.pixels[split].overall_mean for split in ("train", "val")])
    assert (n * mean).sum() / n.sum() == pytest.approx(0.1306605, abs=1e-6)  # of the 60,000, as everybody finds
    assert found.suggestion.words == ("likelihood=bernoulli", "data.binarize=dynamic")
    assert found.findings == ()


def test_letters_with_accents_that_the_font_has_not_are_drawn_without_them():
    assert fitting("\u00e9t\u00e9 \u017b\u00f3\u0142w", 13, 1000) == "ete Zo?w"
