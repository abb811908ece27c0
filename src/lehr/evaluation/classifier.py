"""A small convolutional classifier, trained on the labels of a data set, whose last hidden layer gives features.

Training is the same bit for bit whenever it is repeated on one kind of processor, and is done once for a data set: the
weights are kept in a cache, under a name that is a hash of the images, the labels and everything else that decides.

Shapes: b batch, n images, c h w image, k factors. A data set with one class an image has one factor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from lehr import randomness
from lehr.errors import DataError
from lehr.files import replacing

_VERSION = 1  # to be raised with any change of what training gives
_STEPS = 800
_BATCH = 128
_LEARNING_RATE = 2e-3
_FEATURES = 64
_HELD_OUT = 0.1
_SEED = 0
_PART = 500  # images at a time where there is nothing to learn


@dataclass(frozen=True)
class Description:
    """What decides the layers of a classifier, and how good it became.

    Attributes:
        shape: (c, h, w) of its images.
        classes: number of classes of each factor.
        accuracy: of each factor, on the images that were held out.
        n_held_out: how many those were.
    """

    shape: tuple[int, int, int]
    classes: tuple[int, ...]
    accuracy: tuple[float, ...] = ()
    n_held_out: int = 0


class Classifier(nn.Module):
    """Convolutions that halve the image until it is 4x4, a layer of 64 features, and a linear head for each factor.

    The pixels have `mean` and `std` overall. The features are divided by one number, `scale`, that gives them variance
    1 on average: distances then compare between data sets, and a cubic kernel is neither flat nor explosive.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, int, int], classes: tuple[int, ...]) -> None:
        super().__init__()
        c, h, w = shape
        layers: list[nn.Module] = []
        width, side = 16, max(h, w)
        # the type is said, as the default one follows the precision of the training
        kind = torch.float32
        if side <= 16:  # too small to be halved at once
            layers += [nn.Conv2d(c, width, 3, padding=1, dtype=kind), nn.SiLU()]
            c, width = width, 2 * width
        elif side > 32:  # a convolution of so many pixels is where the time would go
            layers += [nn.Conv2d(c, width, 5, stride=4, padding=2, dtype=kind), nn.SiLU()]
            c, h, w, width = width, (h + 3) // 4, (w + 3) // 4, 2 * width
        while max(h, w) > 4 or not layers:
            layers += [nn.Conv2d(c, width, 3, stride=2, padding=1, dtype=kind), nn.SiLU()]
            c, h, w, width = width, (h + 1) // 2, (w + 1) // 2, min(2 * width, 64)
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(c * h * w, _FEATURES, dtype=kind), nn.SiLU())
        self.heads = nn.ModuleList(nn.Linear(_FEATURES, n, dtype=kind) for n in classes)
        for name in ("mean", "std", "scale"):
            self.register_buffer(name, torch.ones((), dtype=kind))

    def features(self, images: Tensor) -> Tensor:
        """(b, 64) of images (b c h w) in [0, 1]."""
        return self._hidden(images) / self.scale

    def _hidden(self, images: Tensor) -> Tensor:
        return self.body((images - self.mean) / self.std)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits (b, classes) of each factor."""
        features = self._hidden(images)
        return [head(features) for head in self.heads]


def cached_classifier(images: Tensor, labels: Tensor, cache: Path) -> tuple[Classifier, Description]:
    """The classifier of a data set from the cache, or trained and put there; a damaged file is replaced.

    Args:
        images: (n c h w) float32 in [0, 1], on the CPU.
        labels: (n,) or (n, k) int64.
        cache: a folder. Where it cannot be written to, the classifier is used without being kept.

    Raises:
        DataError: if there is nothing to learn: fewer than 2 images, or a single class.
    """
    factors, classes = _as_factors(labels, len(images))
    path = cache / "classifiers" / f"{_key(images, factors)}.safetensors"
    expected = Description((images.shape[1], images.shape[2], images.shape[3]), classes)
    if found := _read(path, expected):
        return found
    model, description = train(images, factors, classes)
    # a cache that is full or read-only costs the next evaluation its time, not this one its result
    with suppress(OSError, SafetensorError):
        _write(path, model, description)
    return model, description


def _as_factors(labels: Tensor, n: int) -> tuple[Tensor, tuple[int, ...]]:
    """Labels as (n, k) numbers from 0 up, and how many there are of each factor."""
    labels = labels.cpu().reshape(len(labels), -1)
    if len(labels) != n:
        raise ValueError(f"{n} images have {len(labels)} labels")
    if n < 2:
        raise DataError(f"classifier: {n} images with labels are too few to learn from")
    numbered = [column.unique(return_inverse=True) for column in labels.T]
    classes = tuple(len(values) for values, _ in numbered)
    if max(classes, default=0) < 2:
        raise DataError("classifier: all images have the same label, so there is nothing to learn")
    return torch.stack([inverse for _, inverse in numbered], 1), classes


def _key(images: Tensor, factors: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    settings = (_VERSION, _STEPS, _BATCH, _LEARNING_RATE, _FEATURES, _HELD_OUT, _SEED)
    digest.update(repr((settings, tuple(images.shape), tuple(factors.shape))).encode())
    for tensor in (images, factors):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def train(images: Tensor, factors: Tensor, classes: tuple[int, ...]) -> tuple[Classifier, Description]:
    """Train on nine tenths of the images, for a fixed number of steps, and measure the accuracy on the rest.

    `factors` is (n, k), numbers from 0 up. The loss is the sum of the cross-entropies of all factors.
    """
    n = len(images)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    order = randomness.permutation(_SEED, "classifier/held-out", 0, n)
    held_out, rest = order.split([max(1, int(_HELD_OUT * n)), n - max(1, int(_HELD_OUT * n))])
    with _one_thread(), torch.inference_mode(False), torch.enable_grad():
        with randomness.seeded(_SEED, "classifier/weights"):
            model = Classifier(shape, classes)
        std, mean = torch.std_mean(images)
        model.mean.copy_(mean)
        model.std.copy_(std.clamp(min=1e-3))
        optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
        for step, rows in enumerate(_minibatches(rest)):
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / _STEPS)
            logits = model(images[rows])
            loss = torch.stack([F.cross_entropy(x, y) for x, y in zip(logits, factors[rows].T, strict=True)]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval().requires_grad_(False)
        hidden = torch.cat([model.features(images[rows]) for rows in held_out.split(_PART)])
        model.scale.copy_(hidden.var(0, correction=0).mean().sqrt().clamp(min=1e-3))
        accuracy = _accuracy(model, images, factors, held_out)
    return model, Description(shape, classes, accuracy, len(held_out))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums do not depend on how they are shared by threads; such small layers would gain little from more of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _minibatches(rows: Tensor) -> Iterator[Tensor]:
    size = min(_BATCH, len(rows))
    batches = len(rows) // size
    for step in range(_STEPS):
        epoch, k = divmod(step, batches)
        if k == 0:
            order = rows[randomness.permutation(_SEED, "classifier/order", epoch, len(rows))]
        yield order[k * size : (k + 1) * size]


def _accuracy(model: Classifier, images: Tensor, factors: Tensor, rows: Tensor) -> tuple[float, ...]:
    right = torch.zeros(factors.shape[1], dtype=torch.int64)
    for part in rows.split(_PART):
        guesses = torch.stack([logits.argmax(1) for logits in model(images[part])], 1)
        right += (guesses == factors[part]).sum(0)
    return tuple((right.double() / len(rows)).tolist())


def _write(path: Path, model: Classifier, description: Description) -> None:
    with replacing(path) as temporary:
        save_file(model.state_dict(), temporary, metadata={"description": json.dumps(asdict(description))})


def _read(path: Path, expected: Description) -> tuple[Classifier, Description] | None:
    """What `_write` wrote; None if there is no such file, or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads(file.metadata()["description"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = Description(
            tuple(found["shape"]), tuple(found["classes"]), tuple(found["accuracy"]), found["n_held_out"]
        )
        if (description.shape, description.classes) != (expected.shape, expected.classes):
            return None
        with torch.random.fork_rng(devices=[]):  # the weights that are about to be replaced are drawn, too
            model = Classifier(expected.shape, expected.classes)
        model.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        return None
    return model.eval().requires_grad_(False), description
