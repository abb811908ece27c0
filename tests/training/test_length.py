"""Images seen, the x-axis of everything that is logged: counted as the ranks are dealt them."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
from harness import Tiny
from lightning.pytorch import Trainer

from lehr.data.order import TrainingOrder
from lehr.training.building import _purge_step
from lehr.training.length import Length


def order(n, batch_size, world):
    return TrainingOrder(n, batch_size, 0, world=world)


def length(n, batch_size, ranks, nodes=1):
    trainer = SimpleNamespace(
        num_devices=ranks,
        num_nodes=nodes,
        limit_train_batches=1.0,
        accumulate_grad_batches=1,
        max_epochs=3,
        max_steps=-1,
    )
    return Length.of(
        trainer, SimpleNamespace(n_train=n, batch_size=batch_size, training_order=partial(order, n, batch_size))
    )


@pytest.mark.parametrize(
    ("n", "batch_size", "ranks", "nodes"),
    [(1001, 100, 1, 1), (1001, 100, 4, 1), (1001, 100, 2, 2), (1003, 100, 4, 1), (1004, 100, 4, 1), (1000, 100, 4, 1)],
)
def test_images_seen_are_those_that_the_ranks_were_dealt(n, batch_size, ranks, nodes):
    found, batches, seen = length(n, batch_size, ranks, nodes), 0, 0
    world = ranks * nodes
    orders = [TrainingOrder(n, batch_size, 0, rank, world) for rank in range(world)]
    for epoch in range(3):
        for shares in zip(*(order.shares(epoch) for order in orders), strict=True):
            batches, seen = batches + 1, seen + sum(len(share.indices) for share in shares)
            assert found.images(batches) == seen
    assert batches == found.total_steps


def test_what_is_logged_again_on_resuming_is_hidden_by_the_same_count():
    # the last batch of 1,001 images in batches of 100 is too small for 4 ranks: 25 batches are all of 100 images
    checkpoint = {"loops": {"fit_loop": {"epoch_loop.batch_progress": {"total": {"ready": 25}}}}}
    assert _purge_step(checkpoint, length(1001, 100, 4)) == 2501
    assert _purge_step(checkpoint, length(1001, 100, 1)) == 2303  # two epochs of 1,001, and three batches


def test_the_length_is_known_before_the_ranks_are_started(tmp_path):
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False, default_root_dir=tmp_path
    )
    data = Tiny()
    data.prepare_data()
    data.setup()
    found = Length.of(trainer, data)
    assert found.batches_per_epoch == len(TrainingOrder(data.n_train, data.batch_size, 0, world=2))
