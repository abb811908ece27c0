"""Training on the device: what it learns, gone on with, as one rank of a process group, compiled, out of memory."""

from __future__ import annotations

import json

import pytest
import torch

from lehr.evaluation.catalogue import without_execution as numbers
from lehr.models import MLP
from lehr.training.peak import PeakMemory

SAME = 1e-4
"""Of two trainings on one GPU with the same noise, whose kernels add up in whatever order. On a CPU they are equal."""


def close(device: str, expected: dict[str, float]) -> object:
    return numbers(expected) if device == "cpu" else pytest.approx(numbers(expected), rel=SAME, abs=1e-5)


@pytest.mark.gpu
def test_the_most_that_tensors_took_while_a_run_was_trained_is_said(trained):
    held = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    del held  # before the training
    most = trained("cuda", name="run")["memory/gpu_peak_mib"]
    assert 0 < most < 500
    with PeakMemory(torch.device("cuda")) as found:
        before = torch.cuda.memory_allocated()
        held = torch.empty(2**26, dtype=torch.uint8, device="cuda")
        del held
    assert found.found["memory/gpu_peak_mib"] == 64 + before / 2**20


@pytest.mark.gpu
def test_a_gpu_learns_what_a_cpu_learns(trained):
    found, usual = trained("cuda", name="gpu"), trained("cpu", name="cpu")
    for name in ("test/elbo", "test/distortion", "posterior/scaling_factor"):
        assert found[name] == pytest.approx(usual[name], rel=0.03), name
    assert numbers(found) != numbers(usual)  # its noise is its own


def test_a_training_that_is_gone_on_with_within_an_epoch_ends_as_one_that_was_never_stopped(
    trained, device, lehr, tmp_path
):
    trained(device, "trainer.max_steps=30", name="run")
    assert lehr("train", f"resume={tmp_path / 'run'}", "trainer.max_steps=null")[0] == 0
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert numbers(found) == close(device, trained(device, name="whole"))


def test_one_rank_of_a_process_group_trains_as_a_process_without_one(trained, device, monkeypatch):
    """By NCCL on a GPU, and by Gloo on a CPU."""
    backends, begin = [], torch.distributed.init_process_group

    def watched(backend, *arguments, **options):
        backends.append(backend)
        return begin(backend, *arguments, **options)

    monkeypatch.setattr(torch.distributed, "init_process_group", watched)
    found = trained(device, "trainer.strategy=ddp", "trainer.devices=1", name="ddp")
    assert backends == ["nccl" if device == "cuda" else "gloo"]
    assert numbers(found) == pytest.approx(numbers(trained(device, name="plain")), rel=SAME, abs=1e-5)


# torch's own, of what its compiler imports
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def test_compiled_networks_learn_what_the_others_learn(trained, device):
    # the arithmetic is that of other kernels, whose last bits training makes something of
    found, usual = trained(device, "compile=true", name="compiled"), trained(device, name="usual")
    assert found["test/elbo"] == pytest.approx(usual["test/elbo"], rel=1e-3)


SAID = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is "
    "free. Process 1 has 77.90 GiB memory in use."
)


def refused(lehr, path, *words: str) -> str:
    small = ("trainer.max_steps=2", "kl=constant", "evaluate=none", "logger=none", "callbacks.samples=null")
    code, _, err = lehr("train", *small, f"dir={path}", *words)
    assert code == 1
    assert "Traceback" not in err
    status = json.loads((path / "status.json").read_text())
    line = err.splitlines()[-1].removeprefix("lehr train: ")
    assert (status["state"], status["error"]) == ("failed", f"OutOfMemory: {line}")
    return line


def test_a_gpu_without_room_is_one_line_that_says_what_takes_less(lehr, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr(MLP, "encode", full)
    assert refused(lehr, tmp_path / "run", "trainer.accelerator=cpu", "data.batch_size=512") == (
        "the GPU has no memory left (2.00 GiB more were asked for; it has 79.11 GiB): lower data.batch_size (512) or "
        "data.eval_batch_size (1000) or the size of the model"
    )


@pytest.mark.gpu
def test_a_gpu_that_has_no_room_says_so_and_can_be_used_again(lehr, tmp_path, trained):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(64 * 2**20 / torch.cuda.get_device_properties(0).total_memory)
    try:
        # 2 * 64 * 300,000 weights of the first and of the last layer take 150 MiB
        line = refused(lehr, tmp_path / "full", "trainer.accelerator=cuda", "model.hidden=[300000]")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert line.startswith("the GPU has no memory left (")
    assert "MiB more were asked for; it has" in line
    trained("cuda")
