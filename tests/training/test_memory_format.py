"""trainer.channels_last: where numbers lie in memory, and not which."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from lehr.training.module import VAEModule

CONV = ("model=conv", "model.channels=[8,8]", "model.hidden=0", "kl=constant", "trainer.max_epochs=null",
        "trainer.max_steps=4", "evaluate=none", "callbacks.samples=null", "callbacks.aggregate=null",
        "logger=none")  # fmt: skip


def test_channels_last_changes_no_number_beyond_rounding(lehr, tmp_path, monkeypatch):
    kernels: list[bool] = []
    step = VAEModule.training_step

    def watched(module, *arguments):
        four = [p for p in module.model.parameters() if p.ndim == 4 and min(p.shape) > 1]
        kernels.append(all(p.is_contiguous(memory_format=torch.channels_last) for p in four))
        return step(module, *arguments)

    monkeypatch.setattr(VAEModule, "training_step", watched)
    weights = {}
    for last in ("false", "true"):
        run = tmp_path / last
        code, _, err = lehr("train", f"dir={run}", *CONV, f"trainer.channels_last={last}", "ema.decay=0.5")
        assert code == 0, err
        weights[last] = load_file(run / "model" / "model.safetensors")
    assert kernels == [False] * 4 + [True] * 4
    for name, tensor in weights["false"].items():
        torch.testing.assert_close(weights["true"][name], tensor, rtol=1e-3, atol=1e-5)
        assert weights["true"][name].is_contiguous()
    code, _, err = lehr("train", f"resume={tmp_path / 'true'}", "trainer.max_steps=6", "trainer.channels_last=true")
    assert code == 0, err
    assert kernels[8:] == [True, True]
