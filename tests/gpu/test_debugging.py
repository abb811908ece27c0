"""`debug=profile` and `debug=anomaly` on a card, where kernels run later than they are launched."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.gpu
SMALL = ("trainer.accelerator=cuda", "model.hidden=[32]", "evaluate=none", "logger=none", "callbacks.samples=null")


def test_kernels_count_for_the_part_that_launched_them(lehr, tmp_path):
    code, _, err = lehr("train", f"dir={tmp_path}/run", "debug=profile", *SMALL)
    assert code == 0, err
    table = (tmp_path / "run" / "profile" / "step.txt").read_text()
    row = re.compile(r"^  (\w[\w ]*\w) +([\d.]+) +([\d.]+) +[\d.]+% +([\d.]+)$", re.MULTILINE)
    rows = {name: (float(cpu), float(gpu)) for name, cpu, gpu, _ in row.findall(table)}
    step = rows.pop("step")
    for i in (0, 1):
        assert sum(spent[i] for spent in rows.values()) == pytest.approx(step[i], abs=0.0005 * len(rows) + 0.001)
    # the backward pass is launched by a thread of its own, while the main one waits within its range
    assert all(rows[name][1] > 0 for name in ("encode", "decode", "likelihood", "backward", "optimizer"))


def test_what_made_a_loss_infinite_is_told_in_its_own_step(lehr, tmp_path):
    words = (
        "kl=constant",
        "trainer.max_steps=3",
        "likelihood=gaussian",
        "likelihood.scale=1e-20",
        "data.binarize=none",
    )
    code, _, err = lehr("train", f"dir={tmp_path}/run", "debug=anomaly", *SMALL, *words)
    first, second = (line for line in err.splitlines() if line.startswith("lehr train: "))
    assert code == 1
    assert first == "lehr train: step 0 (KL weight 1): the distortion is inf"
    assert "exp made 1 of 1 numbers inf" in second
    assert "lehr/objective/likelihood.py" in second


def test_a_backward_pass_is_watched_in_its_own_thread():
    import torch
    from torch import nn

    from lehr.training.debugging.tracing import Sites, Watch, chain

    layer = nn.Linear(2, 2, bias=False, device="cuda")
    nn.init.eye_(layer.weight)
    with Sites({}), Watch({}) as watch:
        h = layer(torch.tensor([[-1.0, 4.0]], device="cuda"))
        torch.where(h > 0, torch.sqrt(h), torch.zeros_like(h)).sum().backward()
    first = chain(watch.made(layer.weight.grad))[0]
    assert first.node == "SqrtBackward0"
    assert first.site.file == __file__
