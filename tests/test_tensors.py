"""The id of a model, and the files that keep it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from lehr import CheckpointError
from lehr.tensors import model_id, read_id, read_tensors, require_same_model, write_tensors

WEIGHTS = {
    "a": torch.arange(6.0).view(2, 3),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
    "flag": torch.tensor([True, False]),
    "scalar": torch.tensor(3),
    "empty": torch.empty(0, 4),
}


@pytest.mark.parametrize(
    "change",
    [
        {"a": torch.arange(6.0).view(3, 2)},
        {"a": torch.arange(6, dtype=torch.float64).view(2, 3)},
        {"a": torch.arange(6.0).view(2, 3).nextafter(torch.tensor(9.0))},
        {"half": torch.tensor([-1.5], dtype=torch.bfloat16)},
        {"flag": torch.tensor([False, False])},
        {"scalar": torch.tensor([3])},
        {"empty": torch.empty(4, 0)},
        {"new": torch.zeros(0)},
    ],
    ids=str,
)
def test_whatever_differs_between_two_models_changes_the_id(change):
    assert model_id(WEIGHTS | change) != model_id(WEIGHTS)


def test_the_id_is_of_the_weights_alone():
    transposed = {**WEIGHTS, "a": WEIGHTS["a"].t().contiguous().t()}
    assert model_id(dict(reversed(transposed.items()))) == model_id(WEIGHTS)


def test_tensors_come_back_with_the_id_they_were_written_with(tmp_path):
    write_tensors(tmp_path / "own.safetensors", WEIGHTS, "abc")
    found, written = read_tensors(tmp_path / "own.safetensors")
    assert (written, read_id(tmp_path / "own.safetensors")) == ("abc", "abc")
    assert model_id(found) == model_id(WEIGHTS)
    save_file({"a": WEIGHTS["a"]}, tmp_path / "earlier.safetensors")
    assert read_id(tmp_path / "earlier.safetensors") is None


def test_two_ids_that_are_known_must_agree(tmp_path):
    for written, model in ((None, "abc"), ("abc", None), ("abc", "abc")):
        require_same_model(tmp_path, written, model, "do this")
    with pytest.raises(CheckpointError, match="belongs to another model than the weights in model/; do this"):
        require_same_model(tmp_path, "abc", "abd", "do this")


def test_whoever_may_read_other_files_may_read_tensors(tmp_path):
    (plain := tmp_path / "plain").touch()
    write_tensors(tmp_path / "t.safetensors", {"x": torch.zeros(2)}, "id")
    assert (tmp_path / "t.safetensors").stat().st_mode == plain.stat().st_mode
