"""`debug=anomaly`: the operation that made the first number that is not finite, and no other."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lehr.training.debugging.tracing import INF, NAN, Sites, Watch, chain, kind_of

X = torch.tensor([[-1.0, 0.5, 2.0, 100.0]])


class _Net(nn.Module):
    """A layer of ones, and what `way` makes of it."""

    def __init__(self, way):
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.layer.weight)
        self.way = way

    def forward(self, x):
        return self.way(self.layer(x))


def watched(way):
    """A net of this way, its loss, and what was seen of both passes."""
    net = _Net(way)
    names = {id(net): "net", id(net.layer): "net.layer"}
    with Sites(names), Watch(names) as watch:
        loss = net(X).sum()
        loss.backward()
    return net, loss, watch


def line_of(way, text):
    lines, first = inspect.getsourcelines(way)
    return first + next(i for i, line in enumerate(lines) if text in line)


def logarithm(h):
    h = h * 1
    return torch.log(h).abs()


def in_place(h):
    h = h * 1
    h.log_()
    return h + 1


def through_a_view(h):
    h = h * 1
    part = h[:, :2]
    part.sqrt_()
    return h * 2


@pytest.mark.parametrize(
    ("way", "operator", "text"),
    [(logarithm, "log", "log("), (in_place, "log_", "log_"), (through_a_view, "sqrt_", "sqrt_")],
)
def test_the_operator_that_made_nan_of_finite_numbers_is_named_with_its_line_and_module(way, operator, text):
    _, loss, watch = watched(way)
    first = chain(watch.made(loss))[0]
    assert (first.operator, first.kind, first.count, first.node) == (operator, NAN, 1, "")
    assert (first.site.file, first.site.line) == (__file__, line_of(way, text))
    assert first.site.module == "net"
    assert text in str(first)
    assert "of numbers between -1 and" in str(first)


def overflowing(h):
    large = (h * 10).exp()
    return large - large


def test_a_nan_that_comes_of_an_infinity_leads_back_to_it():
    _, loss, watch = watched(overflowing)
    found = chain(watch.made(loss))
    assert [(made.operator, made.kind) for made in found] == [("exp", INF), ("sub", NAN), ("sum", NAN)]


def masked(h):
    harmless = torch.where(h > 0, h, -torch.inf).logsumexp(1, keepdim=True)
    also = torch.where(h > 0, h.log(), 0.0)
    return harmless + also.detach() + (h - 200).log()


def test_what_is_masked_is_no_fault_and_the_fault_beside_it_is_found():
    _, loss, watch = watched(lambda h: torch.where(h > 0, h, -torch.inf).logsumexp(1))
    assert not kind_of(loss)
    _, loss, watch = watched(masked)
    first = chain(watch.made(loss))[0]
    assert (first.operator, first.count, first.site.line) == ("log", 4, line_of(masked, "200"))


def dead_root(h):
    return torch.sqrt((h - h.detach()).square())


def trap(h):
    return torch.where(h > 0, torch.sqrt(h), torch.zeros_like(h))


@pytest.mark.parametrize(("way", "node", "given"), [(dead_root, "SqrtBackward0", False), (trap, "SqrtBackward0", True)])
def test_a_gradient_that_turns_nan_leads_to_the_forward_line_that_it_is_of(way, node, given):
    net, loss, watch = watched(way)
    assert not kind_of(loss)
    found = chain(watch.made(net.layer.weight.grad))
    first = found[0]
    assert first.node == node
    assert (first.site.file, first.site.line, first.site.module) == (__file__, line_of(way, "sqrt"), "net")
    # sqrt of a negative number was masked in the forward pass: there it did no harm
    assert [source.operator for source in first.sources if not source.node] == (["sqrt"] if given else [])
    assert all(made.node for made in found)


SMALL = ("debug=anomaly", "model.hidden=[8]", "trainer.max_steps=3", "kl=constant", "evaluate=none")
QUIET = ("callbacks.samples=null", "logger=none")


@pytest.mark.slow
def test_a_run_in_which_all_is_finite_comes_to_the_same_bits(lehr, tmp_path):
    for name, words in (("watched", SMALL), ("plain", SMALL[1:])):
        code, _, err = lehr("train", f"dir={tmp_path}/{name}", *words, *QUIET)
        assert code == 0
        assert ("loss, gradients and weights were finite in all of 3 steps" in err) == (name == "watched")
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("watched", "plain"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_that_has_failed_goes_on_to_the_step_where_it_did_and_names_the_line(lehr, tmp_path):
    words = ("likelihood=gaussian", "likelihood.scale=1e-20", "data.binarize=none")
    _, _, err = lehr("train", f"dir={tmp_path}/run", *SMALL[1:], *QUIET, *words)
    step = "step 0 (KL weight 1): the distortion is inf"
    assert err.splitlines()[-1] == f"lehr train: {step}; debug=anomaly says what has made it so"
    code, _, err = lehr("train", f"resume={tmp_path}/run", "debug=anomaly")
    first, second = (line for line in err.splitlines() if line.startswith("lehr train: "))
    assert code == 1
    assert first == f"lehr train: {step}"
    assert second.startswith(
        "lehr train: debug=anomaly: exp made 1 of 1 numbers inf, of numbers between 92.1 and 92.1; "
    )
    assert "lehr/objective/likelihood.py" in second
    assert "in likelihood: return -0.5 * square.sum(1) * (-2 * log_scale).exp()" in second
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], "exp made 1 of 1 numbers inf" in status["error"]) == ("failed", True)
    # it is looked for when that is said, and not ever after
    _, out, _ = lehr("train", f"resume={tmp_path}/run", "--cfg", "job")
    assert "\ndebug: false\n" in out


def test_a_step_of_the_optimizer_that_goes_too_far_is_told_as_that(lehr, tmp_path):
    code, _, err = lehr("train", f"dir={tmp_path}/run", *SMALL, *QUIET, "optimizer.lr=1e38")
    assert code == 1
    said = "step 0: loss and gradients are finite, and model.encoder."
    assert err.splitlines()[-1].startswith(f"lehr train: {said}")
    assert "after the optimizer's step: optimizer.lr=1e+38 is too large" in err


MINE = """
import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self, image_shape, latent_dim=2):
        super().__init__()
        self.shape = image_shape
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 2 * latent_dim))
        self.decoder = nn.Linear(latent_dim, 64)

    def encode(self, x):
        return self.encoder(x).chunk(2, 1)

    def decode(self, z):
        z = torch.where(z > 0, torch.sqrt(z), torch.zeros_like(z))
        return self.decoder(z).view(-1, *self.shape)
"""


def test_a_module_of_ones_own_is_told_by_its_own_line(lehr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine_anomaly.py").write_text(MINE)
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/own.yaml").write_text("_target_: mine_anomaly.Mine\nlatent_dim: 2\n")
    own = ("--config-dir", "conf", "model=own", "trust=[mine_anomaly]")
    code, _, err = lehr("train", *own, "dir=run", SMALL[0], *SMALL[2:], *QUIET)
    first, second, third = (line.removeprefix("lehr train: ") for line in err.splitlines() if "lehr train: " in line)
    assert code == 1
    assert first.startswith("step 0: the loss is finite, and the gradient of model.module.encoder.1.weight (and of ")
    code = "z = torch.where(z > 0, torch.sqrt(z), torch.zeros_like(z))"
    where = f"mine_anomaly.py:{MINE.splitlines().index(f'        {code}') + 1}, in model.module: {code}"
    assert second.endswith(f"backward (SqrtBackward0) of {where}")
    assert third.startswith("debug=anomaly: of what was nan forward already: sqrt made ")
    assert third.endswith(where)
