"""The data module: three splits of a data set, as Lightning asks for them and without Lightning too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lehr import randomness
from lehr.config.problems import section_problems
from lehr.config.schema import schema_of_class
from lehr.config.signature import signature_of
from lehr.data.binarize import Kind
from lehr.data.buckets import BucketOrder
from lehr.data.digests import digests_of, equal_examples
from lehr.data.file_facts import FileFacts
from lehr.data.fingerprint import MOST_NAMES, Fingerprint, SplitPrint
from lehr.data.images import Images
from lehr.data.loader import EvaluationLoader, TrainingLoader, Waiting
from lehr.data.only import only_classes
from lehr.data.order import EvaluationOrder, TrainingOrder
from lehr.data.splits import Splits, hold_out
from lehr.errors import ConfigError, DataError
from lehr.limits import Fraction, NonNegativeInt, PositiveInt, Text

MOST_LEFT_OUT = 1000
"""Files of a kind that data.json names as left out."""


class ImageDataModule(LightningDataModule, ABC):
    """A data set of images. A subclass says in `read` where they come from, and in `check` what may be wrong.

    Args:
        batch_size: examples per optimiser step, over all ranks.
        eval_batch_size: examples per batch and rank in evaluation; it changes no number, only speed and memory.
        val_fraction: the part of the training examples that is held out for validation, chosen by `seed`.
        binarize: "none", "threshold" or "dynamic".
        seed: decides the order, augmentation, binarisation and the validation split.
        split_seed: decides everything about the test split, so that runs with different seeds compare.
        train_on: classes that training and validation are of alone, by their names or numbers; the test split has all.
        train_on_factor: which of the labels these are values of, where each image has several.

    Attributes:
        evaluation_crop: how images are cut to their size where they are not augmented.
    """

    evaluation_crop = "none"

    def __init__(
        self,
        *,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        val_fraction: Fraction,
        binarize: Kind,
        seed: NonNegativeInt,
        split_seed: NonNegativeInt = 0,
        train_on: list[Text | int] | None = None,
        train_on_factor: NonNegativeInt | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_fraction = val_fraction
        self.binarize = binarize
        self.seed = seed
        self.split_seed = split_seed
        self.train_on = train_on
        self.train_on_factor = train_on_factor
        self.skipped: list[str] = []
        """What `read` has left out as damaged, and why: a line each."""
        self.left_out: dict[str, list[str]] = {}
        """What lies among the images and is not read, by the reason; what is known when all have been read."""
        self.classes: Sequence[str] = ()
        """What class i of the labels is called, if the classes have names."""
        self.file_facts: dict[str, FileFacts] = {}
        """What each file is, by its path: known of files that were read to be surveyed."""
        self.other_files: dict[str, str] = {}
        """Files among the images whose names are no images': path -> what they are called; likewise."""
        self.limit: int | None = None
        """At most so many examples of each split are used, chosen at random; None for all."""
        self.overfit_batches = 0
        """If not 0, training sees the first so many batches again and again, always the same pixels of each image."""
        self.training_loader = TrainingLoader
        """The class of what `train_dataloader` gives."""
        self.waiting = Waiting()
        """How long training has waited for its batches."""
        self._splits: dict[str, Images] = {}

    def use_less(self, trainer: Mapping[str, Any]) -> None:
        """Use no more of the data than a section `trainer` says, once they are read, or of those that are."""
        self.limit, self.overfit_batches = trainer.get("limit_examples"), trainer.get("overfit_batches") or 0
        if self._splits and self.limit:
            self._limit_splits()
            for known in ("fingerprint", "equal_examples", "_digests"):
                self.__dict__.pop(known, None)  # of all of them

    @abstractmethod
    def read(self) -> Splits:
        """Read the data set.

        Raises:
            DataError: if files are missing, damaged or not of the kind that was configured.
        """

    def check(self) -> list[str]:
        """What is wrong with the configuration, one line a problem, without reading any image.

        Values are checked against the constructor of the class, where they are attributes of the same names.
        """
        for cls in type(self).__mro__:
            names = signature_of(cls).parameters
            if all(hasattr(self, name) for name in names):
                break
        values = {name: getattr(self, name) for name in names}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
        return section_problems(schema_of_class("data", cls.__qualname__, cls), {"_target_": "", **plain}, "data")

    def prepare_data(self) -> None:
        """Check the configuration. Lightning calls this once a machine, before any rank reads."""
        self._require_no_problems()

    def setup(self, stage: str | None = None) -> None:
        """Read the data set and split it; a second call only checks that the ranks can share it.

        Raises:
            ConfigError: if the configuration is impossible.
            DataError: if the data cannot be read, or a split would be empty.
        """
        if not self._splits:
            self._require_no_problems()
            splits = self.read()
            train, val = splits.train, splits.val
            if val is None:
                train, val = hold_out(train, self.val_fraction, self.seed, "split/val")
            if self.train_on is not None:
                of = (self.train_on, self.train_on_factor, self.classes, splits.name)
                train, val = only_classes((train, val), *of)
            for part, images in (("training", train), ("validation", val)):
                if not len(images):
                    of_these = "" if self.train_on is None else f", data.train_on={list(self.train_on)}"
                    raise DataError(
                        f"{splits.name}: no example is left for {part}: {len(splits.train)} examples, "
                        f"data.val_fraction={self.val_fraction}{of_these}"
                    )
            self.name = splits.name
            self._splits = {"train": train, "val": val}
            if splits.test is not None:
                self._splits["test"] = splits.test
            self._limit_splits()
        self._require_work_for_every_rank()

    def require_readable(self) -> None:
        """Look for damaged examples in all splits, where that is not found when they are read: before any training.

        Raises:
            DataError: names the first.
        """

    @property
    def refuses_damaged(self) -> bool:
        """Whether damaged examples, which are left out where the data are surveyed, stop a training."""
        return False

    def for_survey(self) -> ImageDataModule:
        """These data to be looked at as a whole: read anew where that tells more, and with nothing that is damaged."""
        return self

    def close(self) -> None:
        """Let go of what was started to read these data; it is started again where it is wanted again."""

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What the splits hold: reads everything, once."""
        names = {split: getattr(images, "names", None) for split, images in self._splits.items()}
        named = sum(len(found or ()) for found in names.values()) <= MOST_NAMES
        return Fingerprint(
            {
                split: SplitPrint.of(
                    self._digests[split], images.labels, names[split] if named else None, n=len(images)
                )
                for split, images in self._splits.items()
            }
        )

    def described(self) -> dict[str, Any]:
        """What data.json says: the fingerprint, what was not read, and which examples are equal byte for byte."""
        return {
            "name": self.name,
            "splits": self.fingerprint.plain(),
            "skipped": self.skipped,
            "left_out": {
                reason: {"n": len(names), "files": names[:MOST_LEFT_OUT]} for reason, names in self.left_out.items()
            },
            "equal": self.equal_examples,
        }

    @cached_property
    def equal_examples(self) -> dict[str, int]:
        """How many examples are equal to others: `train` within a split, `train test` those of test in train."""
        return equal_examples({split: rows for split, rows in self._digests.items() if rows is not None})

    @cached_property
    def _digests(self) -> dict[str, np.ndarray | None]:
        if not self._splits:
            raise RuntimeError("the data set has not been read yet: call setup() first")
        return {split: digests_of(images) for split, images in self._splits.items()}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one image."""
        return self._split("train").shape

    @property
    def n_train(self) -> int:
        return len(self._split("train"))

    @property
    def n_val(self) -> int:
        return len(self._split("val"))

    @property
    def n_test(self) -> int:
        """Examples in the test split, 0 where there is none."""
        return len(self._splits["test"]) if "test" in self._splits else 0

    @property
    def held_out(self) -> str:
        """The split that a model is judged by: "test", or "val" where there is none."""
        return "test" if self.n_test else "val"

    @property
    def grey(self) -> bool:
        """Whether pixels other than 0 and 1 reach the model."""
        return self.levels != 2

    @property
    def levels(self) -> int | None:
        """How many grey levels, evenly spaced from 0 to 1, the pixels are of that reach the model; None: not known."""
        return self._split("train").levels if self.binarize == "none" else 2

    @property
    def batches_per_epoch(self) -> int:
        """Batches of training in one epoch, the same on every rank."""
        return len(self._training_order())

    def training_order(self, rank: int = 0, world: int = 1) -> TrainingOrder | BucketOrder:
        """Which examples a rank has in each batch of training."""
        buckets: Tensor | None = getattr(self._split("train"), "buckets", None)
        if buckets is not None:
            return BucketOrder(buckets, self.batch_size, self.seed, rank, world)
        return TrainingOrder(self.n_train, self.batch_size, self.seed, rank, world)

    def images(self, split: str) -> Images:
        """The images of "train", "val" or "test" as they are stored, with their labels."""
        return self._split(split)

    def part(self, split: str, limit: int | None = None) -> Images:
        """At most `limit` images of a split, chosen at random, as it may be sorted; the same ones each time."""
        images = self._split(split)
        if limit is None or limit >= len(images):
            return images
        rows = randomness.permutation(self.split_seed, f"part/{split}", 0, len(images))[:limit]
        return images.subset(rows.sort().values)

    def train_dataloader(self) -> TrainingLoader:
        return self.training_loader(
            self._split("train"),
            self._training_order(),
            self._position,
            binarization=self.binarize,
            seed=self.seed,
            device=self._device(),
            repeat=self.overfit_batches,
            waiting=self.waiting,
        )

    def val_dataloader(self) -> EvaluationLoader:
        return self.evaluation_loader("val", self._device(), *self._rank_and_world())

    def test_dataloader(self) -> EvaluationLoader:
        return self.evaluation_loader("test", self._device(), *self._rank_and_world())

    def evaluation_loader(
        self, split: str, device: torch.device | str, rank: int = 0, world: int = 1, limit: int | None = None
    ) -> EvaluationLoader:
        """A split ("train", "val" or "test") in order, not augmented, every example once; needs no trainer.

        With a `limit` only so many of its examples, see `part`.

        Raises:
            DataError: if the data set has no such split.
        """
        images = self.part(split, limit)
        return EvaluationLoader(
            images,
            EvaluationOrder(len(images), self.eval_batch_size, rank, world),
            split=split,
            binarization=self.binarize,
            seed=self.split_seed if split == "test" else self.seed,
            device=device,
        )

    def _limit_splits(self) -> None:
        self._splits = {split: self.part(split, self.limit) for split in self._splits}

    def _split(self, split: str) -> Images:
        if not self._splits:
            raise RuntimeError("the data set has not been read yet: call setup() first")
        if split not in self._splits:
            raise DataError(f"{self.name} has no split called {split!r}, only {', '.join(self._splits)}")
        return self._splits[split]

    def _training_order(self) -> TrainingOrder | BucketOrder:
        return self.training_order(*self._rank_and_world())

    def _position(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 0
        # Overfitting on purpose means the same few batches every epoch.
        overfit = self.trainer.overfit_batches  # type: ignore[attr-defined]  # the trainer sets it by name
        epoch = 0 if overfit else self.trainer.current_epoch
        return epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def _rank_and_world(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _require_no_problems(self) -> None:
        if problems := self.check():
            raise ConfigError(*problems)

    def _require_work_for_every_rank(self) -> None:
        _, world = self._rank_and_world()
        if self.batch_size < world:
            raise ConfigError(f"data.batch_size: {self.batch_size} examples cannot be shared by {world} devices")
        for split, images in self._splits.items():
            if len(images) < world:
                raise DataError(f"{self.name}: {len(images)} {split} examples cannot be shared by {world} devices")
