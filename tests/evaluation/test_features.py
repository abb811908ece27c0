"""The features in which images are compared: a classifier's, principal components, Inception's."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from lehr import randomness
from lehr.data.digits import read_levels
from lehr.data.idx import read_idx
from lehr.errors import ConfigError, DataError
from lehr.evaluation import classifier, inception
from lehr.evaluation.classifier import Classifier, cached_classifier
from lehr.evaluation.features import (
    ClassifierFeatures,
    PCAFeatures,
    cache_folder,
    choose_features,
    feature_matrix,
)
from lehr.evaluation.generation import compare_features


def images_of(n, c=1, h=8, w=8, counter=0):
    return randomness.uniform(5, "test", counter, (n, c, h, w))


def squares(n=120):
    """Dim images with a bright square: labels (n, 2) say in which half, and how bright, labelled 3 and 7."""
    images = 0.2 * images_of(n)
    right, bright = torch.arange(n) % 2, torch.arange(n) // 2 % 2
    for i in range(n):
        left = 4 * int(right[i])
        images[i, :, 2:6, left : left + 4] += 0.3 + 0.4 * float(bright[i])
    return images, torch.stack([right, 3 + 4 * bright], 1)


@pytest.fixture
def short(monkeypatch):
    """Trainings of a moment."""
    monkeypatch.setattr(classifier, "_STEPS", 30)
    monkeypatch.setattr(classifier, "_BATCH", 32)


@pytest.fixture(scope="module")
def digits():
    """Digits (1797, 1, 8, 8), their classes, and features of a classifier trained on the first 1000."""
    levels, classes = read_levels()
    order = randomness.permutation(5, "test", 0, len(levels))  # they are stored writer by writer
    images, labels = torch.tensor(levels / 16, dtype=torch.float32)[order, None], torch.tensor(classes)[order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "_STEPS", 200)
        factors, n_classes = labels[:1000, None], (10,)
        features = ClassifierFeatures(*classifier.train(images[:1000], factors, n_classes))
    return images, labels, features


class TestClassifier:
    def test_learns_each_factor_whatever_its_labels_are_called(self, short, tmp_path):
        images, labels = squares()
        model, description = cached_classifier(images, labels, tmp_path)
        assert description.classes == (2, 2)
        assert description.n_held_out == 12
        assert description.accuracy == (1, 1)
        assert all(
            torch.equal(logits.argmax(1), (labels[:, i] > labels[:, i].min()).long())
            for i, logits in enumerate(model(images))
        )

    def test_training_is_the_same_bit_for_bit_whatever_goes_on_around_it(self, short):
        images, labels = squares()
        factors = (labels > 1).long()
        first, description = classifier.train(images, factors, (2, 2))
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(17)
        state = torch.get_rng_state()
        try:
            with torch.inference_mode():
                second, again = classifier.train(images.clone(), factors, (2, 2))
        finally:
            torch.set_default_dtype(torch.float32)
            threads = torch.get_num_threads()
            torch.set_num_threads(before)
        assert threads == 2
        assert torch.equal(torch.get_rng_state(), state)
        assert again == description
        for (name, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
            assert torch.equal(a, b), name

    def test_features_vary_by_one_on_average(self, short, tmp_path):
        images, labels = squares(400)
        features = ClassifierFeatures(*cached_classifier(images, labels, tmp_path)).features(images)
        assert features.dtype == torch.float64
        assert features.shape == (400, 64)
        assert float(features.var(0).mean()) == pytest.approx(1, rel=0.2)

    @pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 5), (1, 16, 16), (3, 17, 32), (2, 33, 40), (3, 64, 64)])
    def test_takes_images_of_any_shape(self, shape):
        assert Classifier(shape, (3,)).features(torch.zeros(2, *shape)).shape == (2, 64)

    def test_recognises_digits_it_has_not_seen(self, digits):
        images, labels, features = digits
        guesses = features._model(images[1000:])[0].argmax(1)
        assert float((guesses == labels[1000:]).double().mean()) > 0.93
        assert features.description.accuracy[0] > 0.95
        assert features.note == f"classifier of accuracy {features.description.accuracy[0]:.3f} on 100 held-out images"

    @pytest.mark.slow
    def test_recognises_mnist(self, data_root, tmp_path):
        images, labels, test, classes = (
            torch.tensor(read_idx(data_root / "mnist" / f"{name}-ubyte.gz"))
            for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        )
        model, description = cached_classifier(images[:, None] / 255, labels.long(), tmp_path)
        right = torch.cat([model(part)[0].argmax(1) for part in (test[:, None] / 255).split(500)]) == classes
        assert float(right.double().mean()) >= 0.975
        assert description.accuracy[0] == pytest.approx(float(right.double().mean()), abs=0.005)

    @pytest.mark.parametrize(
        ("n", "labels", "message"),
        [
            (4, [2, 2, 2, 2], "all images have the same label"),
            (1, [1], "1 images with labels are too few"),
        ],
    )
    def test_where_there_is_nothing_to_learn_it_says_so(self, tmp_path, n, labels, message):
        with pytest.raises(DataError, match=f"^classifier: {message}"):
            cached_classifier(images_of(n), torch.tensor(labels), tmp_path)


class TestCache:
    @pytest.fixture
    def trainings(self, short, monkeypatch):
        """How many images each training had."""
        counts = []
        train = classifier.train
        monkeypatch.setattr(classifier, "_STEPS", 3)
        monkeypatch.setattr(
            classifier, "train", lambda images, *rest: counts.append(len(images)) or train(images, *rest)
        )
        return counts

    def test_a_second_time_nothing_is_trained_and_the_features_are_the_same(self, trainings, tmp_path):
        images, labels = squares()
        whole = choose_features("classifier", [(images, labels)], cache=tmp_path)
        state = torch.get_rng_state()
        cut = choose_features("classifier", [(images[:50], labels[:50]), (images[50:], labels[50:])], cache=tmp_path)
        assert trainings == [120]
        assert torch.equal(torch.get_rng_state(), state)
        assert cut.note == whole.note
        assert torch.equal(cut.features(images), whole.features(images))

    def test_other_images_labels_or_settings_are_trained_anew(self, trainings, tmp_path, monkeypatch):
        images, labels = squares()
        cached_classifier(images, labels, tmp_path)
        cached_classifier(images.flip(0), labels, tmp_path)
        cached_classifier(images, labels[:, :1], tmp_path)
        cached_classifier(images, labels[:, 1], tmp_path)
        monkeypatch.setattr(classifier, "_STEPS", 4)
        cached_classifier(images, labels, tmp_path)
        assert len(trainings) == 5
        assert len(list((tmp_path / "classifiers").iterdir())) == 5

    @pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-9], lambda content: b"x" * 999])
    def test_a_damaged_file_is_replaced(self, trainings, tmp_path, damage):
        images, labels = squares()
        cached_classifier(images, labels, tmp_path)
        (path,) = (tmp_path / "classifiers").iterdir()
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        cached_classifier(images, labels, tmp_path)
        assert len(trainings) == 2
        assert path.read_bytes() == whole
        cached_classifier(images, labels, tmp_path)
        assert len(trainings) == 2

    def test_where_nothing_can_be_kept_the_classifier_is_used_all_the_same(self, trainings, tmp_path):
        (tmp_path / "file").touch()
        assert cached_classifier(*squares(), tmp_path / "file")[1].n_held_out == 12
        assert trainings == [120]

    def test_lies_where_the_user_keeps_such_things(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
        assert cache_folder() == tmp_path / "elsewhere" / "lehr"
        for unset in ("", "relative"):  # the specification has relative paths ignored
            monkeypatch.setenv("XDG_CACHE_HOME", unset)
            assert cache_folder() == tmp_path / ".cache" / "lehr"


class TestPCA:
    def test_equals_that_of_scikit_learn_up_to_signs_however_the_images_are_cut(self):
        images = images_of(200, 2, 7, 6) * torch.linspace(0.1, 1, 84).view(2, 7, 6)
        features = PCAFeatures([images[:1], images[1:150], images[150:]])
        reference = PCA(64, svd_solver="full").fit(images.double().flatten(1).numpy())
        others = images_of(30, 2, 7, 6, counter=1)
        expected = torch.tensor(reference.transform(others.double().flatten(1).numpy()))
        found = features.features(others)
        assert found.dtype == torch.float64
        assert torch.allclose(found.abs(), expected.abs(), rtol=1e-6, atol=1e-9)
        explained = reference.explained_variance_ratio_.sum()
        assert features.note == f"64 principal components with {explained:.1%} of the variance of the pixels"

    def test_there_are_no_more_components_than_the_images_vary_in(self):
        assert PCAFeatures([images_of(6)]).features(images_of(3)).shape == (3, 5)

    def test_distances_are_those_of_pixels(self):
        images = images_of(300, 1, 4, 4)
        found = PCAFeatures([images]).features(images)
        assert torch.allclose(torch.pdist(found), torch.pdist(images.double().flatten(1)))

    def test_large_images_are_halved_until_they_are_small(self):
        images = images_of(20, 3, 9, 6)
        large = images.repeat_interleave(4, 2).repeat_interleave(4, 3)  # 36x24: 2592 values
        # halved once they are 18x12, with each pixel twice as wide and high
        small = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.allclose(
            torch.pdist(PCAFeatures([large]).features(large)), torch.pdist(PCAFeatures([small]).features(small))
        )

    @pytest.mark.parametrize(
        "batches", [[], [torch.zeros(0, 1, 2, 2)], [torch.ones(1, 1, 2, 2)], [torch.ones(9, 1, 2, 2)]]
    )
    def test_images_that_do_not_vary_are_refused(self, batches):
        with pytest.raises(DataError, match=r"^features: "):
            PCAFeatures(batches)


class TestWhatTheySayOfImages:
    @pytest.mark.parametrize("kind", ["classifier", "pca"])
    def test_real_against_real_is_best_and_noise_and_dropped_classes_are_seen(self, digits, kind):
        images, labels, features = digits
        if kind == "pca":
            features = PCAFeatures([images[:1000]])
        real = features.features(images[:800])
        others = images[800:1600]
        same = compare_features(features.features(others), real)
        noisy = compare_features(features.features(others + images_of(800) - 0.5), real)
        dropped = compare_features(features.features(others[labels[800:1600] < 5]), real)
        assert same.frechet < min(noisy.frechet, dropped.frechet) / 2
        assert same.kernel < min(noisy.kernel, dropped.kernel) / 2
        assert dropped.coverage < 0.7 * same.coverage
        assert same.coverage > 0.8

    def test_values_outside_those_of_pixels_are_cut(self, digits):
        images, _, features = digits
        stretched = 3 * images[:9] - 1
        for kind in (features, PCAFeatures([images[:1000]])):
            assert torch.equal(kind.features(stretched), kind.features(stretched.clamp(0, 1)))

    def test_a_matrix_holds_all_batches_in_order(self, digits):
        images, _, features = digits
        matrix = feature_matrix(features, [images[:7], images[7:9]])
        assert torch.allclose(matrix, features.features(images[:9]), atol=1e-5)


class TestChoice:
    def test_without_inception_labels_give_a_classifier_and_none_give_components(self, short, tmp_path):
        images, labels = squares()
        assert choose_features("auto", [(images, labels)], cache=tmp_path).name == "classifier"
        assert choose_features("auto", [(images, None)], cache=tmp_path).name == "pca"
        assert choose_features("auto", [(images, torch.ones(120))], cache=tmp_path).name == "pca"
        assert choose_features("pca", [(images, labels)], cache=tmp_path).name == "pca"

    @pytest.mark.parametrize(
        ("kind", "labels", "error", "message"),
        [
            ("fid", None, ConfigError, "'fid' is not one of auto, inception, classifier, pca$"),
            ("classifier", None, DataError, "the images have no labels to train a classifier on, choose pca$"),
            ("inception", None, ConfigError, "there are no Inception weights at "),
        ],
    )
    def test_what_cannot_be_had_is_refused_in_one_line(self, monkeypatch, tmp_path, kind, labels, error, message):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(error, match=f"^features: {message}") as caught:
            choose_features(kind, [(images_of(9), labels)], cache=tmp_path)
        assert "\n" not in str(caught.value)

    def test_there_must_be_images_to_fit_to(self):
        for kind in ("pca", "classifier", "auto"):
            with pytest.raises(DataError, match="no training image"):
                choose_features(kind, [])

    def test_weights_that_were_named_are_not_passed_over(self, tmp_path):
        with pytest.raises(ConfigError, match="there are no Inception weights at "):
            choose_features("auto", [(images_of(9), None)], inception=tmp_path / "weights.pth")


class TestInception:
    """torch-fidelity needs torchvision, so what lehr asks of it is tested on a stand-in of the same interface."""

    @pytest.fixture
    def weights(self, monkeypatch, tmp_path) -> Path:
        class Stub(torch.nn.Module):
            def __init__(self, name, features_list, feature_extractor_weights_path=None):
                super().__init__()
                assert features_list == ["2048"]
                self.load_state_dict(torch.load(feature_extractor_weights_path))

            def forward(self, images):
                assert images.dtype == torch.uint8
                return images.float().flatten(1)

        monkeypatch.setattr("torchmetrics.image.fid.NoTrainInceptionV3", Stub)
        monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        torch.save({}, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    def test_sees_8_bit_levels_in_three_channels(self, weights):
        features = choose_features("inception", [], inception=weights)
        levels = torch.arange(256, dtype=torch.uint8)
        images = torch.tensor([-0.5, 1.5, 0.49 / 255, 0.51 / 255]).view(1, 1, 2, 2)
        assert features.name == "inception"
        assert features.features(images).tolist() == [[0, 255, 0, 1] * 3]
        assert features.features(levels.view(1, 1, 16, 16) / 255).tolist() == [levels.tolist() * 3]
        assert features.features(images.expand(2, 3, 2, 2)).dtype == torch.float64
        with pytest.raises(DataError, match="1 or 3 channels, the images have 4"):
            features.features(images.expand(1, 4, 2, 2))

    def test_is_the_first_choice_where_torch_fidelity_has_kept_its_weights(self, weights):
        place = inception.default_weights()
        assert place.name == "weights-inception-2015-12-05-6726825d.pth"
        assert choose_features("auto", [(images_of(9), None)]).name == "pca"
        place.parent.mkdir(parents=True)
        place.write_bytes(weights.read_bytes())
        assert choose_features("auto", [(images_of(9), None)]).name == "inception"

    def test_why_it_cannot_be_had_is_said(self, weights, monkeypatch):
        assert inception.missing(weights) is None
        monkeypatch.setitem(sys.modules, "torch_fidelity", None)
        assert "pip install lehr[inception]" in str(inception.missing(weights))

    @pytest.mark.parametrize("content", [b"", b"no weights", None])
    def test_damaged_weights_are_refused_and_code_in_them_is_not_run(self, weights, content):
        if content is None:
            torch.save(np.array([print]), weights)  # an object that only code can make
        else:
            weights.write_bytes(content)
        with pytest.raises(ConfigError, match="does not hold the Inception weights") as caught:
            choose_features("inception", [], inception=weights)
        assert "\n" not in str(caught.value)
