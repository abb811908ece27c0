from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch

from lehr.data import Arrays, Batch
from lehr.errors import ConfigError, DataError


@pytest.fixture
def array(tmp_path: Path) -> str:
    """107 grey images, each of one level that is its row number over 255."""
    path = tmp_path / "levels.npy"
    np.save(path, np.broadcast_to(np.arange(107, dtype=np.uint8)[:, None, None], (107, 3, 3)))
    return str(path)


def ready(array: str, common: dict[str, Any], rank: int = 0, world: int = 1, **changes: Any) -> Arrays:
    data = Arrays(path=array, **common | changes)
    if world > 1:
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=rank,
            world_size=world,
            current_epoch=2,
            overfit_batches=0,
            fit_loop=SimpleNamespace(
                epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(ready=0)))
            ),
            strategy=SimpleNamespace(root_device=torch.device("cpu")),
        )
    data.setup()
    return data


def rows(batches: Any) -> list[int]:
    return [round(value * 255) for batch in batches for value in batch.images[:, 0, 0, 0].tolist()]


def test_what_is_known_after_setup(array: str, common: dict[str, Any]) -> None:
    data = ready(array, common, test_fraction=0.1)
    assert (data.name, data.shape) == ("levels", (1, 3, 3))
    assert (data.n_train, data.n_val, data.n_test) == (77, 19, 11)
    assert data.held_out == "test"
    assert data.batches_per_epoch == len(data.train_dataloader()) == 8
    assert data.grey
    assert not ready(array, common, binarize="threshold").grey
    data.setup("fit")
    assert data.n_train == 77


@pytest.mark.parametrize(("binarize", "levels"), [("none", 256), ("threshold", 2), ("dynamic", 2)])
def test_the_grey_levels_are_those_that_reach_the_model(
    array: str, common: dict[str, Any], binarize: str, levels: int
) -> None:
    data = ready(array, common, binarize=binarize)
    assert data.levels == levels
    seen = torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu")])
    steps = seen.double() * (levels - 1)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "levels"), [(np.bool_, 2), (np.float32, None), (np.float64, None)])
def test_arrays_of_other_types_are_binary_or_of_unknown_levels(
    tmp_path: Path, common: dict[str, Any], dtype: type, levels: int | None
) -> None:
    path = tmp_path / "array.npy"
    np.save(path, (np.random.default_rng(0).integers(0, 256, (50, 3, 3)) / 255).astype(dtype))
    assert ready(str(path), common).levels == levels


def test_training_batches_of_all_ranks_are_those_of_one_process(array: str, common: dict[str, Any]) -> None:
    common |= {"binarize": "dynamic", "batch_size": 12}
    alone = ready(array, common)
    loader = alone.train_dataloader()
    loader._position = lambda: (2, 0)
    wanted = list(loader)
    ranks = [list(ready(array, common, rank, 3).train_dataloader()) for rank in range(3)]
    assert [len(batches) for batches in ranks] == [len(wanted)] * 3
    for whole, parts in zip(wanted, zip(*ranks, strict=True), strict=True):
        assert torch.cat([part.images for part in parts]).equal(whole.images)
        assert [part.start for part in parts] == [0, *np.cumsum([len(part) for part in parts[:-1]])]
        assert {part.total for part in parts} == {len(whole)}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_binarised_split_is_the_same_for_every_batch_size_and_rank(
    array: str, common: dict[str, Any], split: str
) -> None:
    common["binarize"] = "dynamic"
    whole = torch.cat([batch.images for batch in ready(array, common).evaluation_loader(split, "cpu")])
    assert set(whole.unique().tolist()) == {0.0, 1.0}
    data = ready(array, common, eval_batch_size=3, batch_size=50)
    parts = [batch for rank in range(4) for batch in data.evaluation_loader(split, "cpu", rank, 4)]
    assert torch.cat([batch.images for batch in parts]).equal(whole)
    assert {batch.total for batch in parts} == {len(whole)}


def test_of_each_split_so_many_are_used_the_same_ones_each_time(array: str, common: dict[str, Any]) -> None:
    whole = ready(array, common, test_fraction=0.1)
    part = Arrays(path=array, **common, test_fraction=0.1)
    part.use_less({"limit_examples": 15})
    part.setup()
    assert (part.n_train, part.n_val, part.n_test) == (15, 15, 11)
    for split in ("train", "val", "test"):
        few, all_of_them = (rows(data.evaluation_loader(split, "cpu")) for data in (part, whole))
        assert set(few) <= set(all_of_them)
    assert rows(part.evaluation_loader("train", "cpu")) != rows(whole.evaluation_loader("train", "cpu"))[:15]


def test_the_first_batches_come_again_and_again_with_the_same_pixels(array: str, common: dict[str, Any]) -> None:
    data = Arrays(path=array, **common | {"binarize": "dynamic"})
    (first, second, third, *_) = data_of = list(ready(array, common | {"binarize": "dynamic"}).train_dataloader())
    data.use_less({"limit_examples": None, "overfit_batches": 2})
    data.setup()
    loader = data.train_dataloader()
    once, again = list(loader), list(loader)
    assert len(once) == len(again) == len(data_of)
    for batches in (once, again):
        assert all(batch.images.equal((first, second)[k % 2].images) for k, batch in enumerate(batches))
    assert not first.images.equal(third.images)


def test_runs_with_different_seeds_are_tested_on_the_same_pixels(array: str, common: dict[str, Any]) -> None:
    common["binarize"] = "dynamic"

    def pixels(split: str, seed: int) -> torch.Tensor:
        data = ready(array, common | {"seed": seed})
        return torch.cat([batch.images for batch in data.evaluation_loader(split, "cpu")])

    assert pixels("test", 0).equal(pixels("test", 1))
    assert not pixels("train", 0).equal(pixels("train", 1))


def test_a_split_that_does_not_exist_is_refused(array: str, common: dict[str, Any]) -> None:
    data = ready(array, common, test_fraction=0)
    assert data.n_test == 0
    assert data.held_out == "val"
    with pytest.raises(DataError, match="no split called 'test', only train, val"):
        data.evaluation_loader("test", "cpu")


def test_an_empty_split_is_refused(array: str, common: dict[str, Any]) -> None:
    for fraction, part in ((0.001, "validation"), (0.999, "training")):
        with pytest.raises(DataError, match=f"no example is left for {part}") as caught:
            ready(array, common, val_fraction=fraction)
        assert "\n" not in str(caught.value)


def test_more_devices_than_examples_are_refused(array: str, common: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"data\.batch_size: 2 examples cannot be shared by 3 devices"):
        ready(array, common, world=3, batch_size=2)
    with pytest.raises(DataError, match="11 test examples cannot be shared by 12 devices"):
        ready(array, common, world=12, batch_size=12)


class Recorder(L.LightningModule):
    """Writes down the rows that it is trained on, and saves a checkpoint when asked to."""

    def __init__(self, path: Path, save_at: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.path = path
        self.save_at = save_at
        self.seen: list[tuple[int, list[int]]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], 0.1)

    def training_step(self, batch: Batch, k: int) -> None:
        self.seen.append((self.trainer.current_epoch, rows([batch])))
        self.optimizers().step()

    def on_train_batch_end(self, outputs: Any, batch: Batch, k: int) -> None:
        if len(self.seen) == self.save_at:
            self.trainer.save_checkpoint(self.path, weights_only=False)

    def on_train_epoch_end(self) -> None:
        if len(self.seen) == self.save_at:
            self.trainer.save_checkpoint(self.path, weights_only=False)

    def validation_step(self, batch: Batch, k: int) -> None:
        pass


def fit(module: Recorder, data: Arrays, resume: Path | None = None) -> list[tuple[int, list[int]]]:
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=False if resume else None)
    return module.seen


# Lightning 2.6 asks torch for LeafSpec, which torch has deprecated since.
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("save_at", [3, 11, 16])
def test_a_resumed_training_sees_exactly_the_batches_that_were_still_to_come(
    array: str, common: dict[str, Any], tmp_path: Path, save_at: int
) -> None:
    checkpoint = tmp_path / "a.ckpt"
    whole = fit(Recorder(checkpoint, save_at), Arrays(path=array, **common))
    assert len(whole) == 3 * 8
    for epoch in range(3):
        assert len({row for e, batch in whole if e == epoch for row in batch}) == 77
    assert fit(Recorder(checkpoint), Arrays(path=array, **common), checkpoint) == whole[save_at:]
