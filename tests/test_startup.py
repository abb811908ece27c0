"""What quick imports leave out, and that nothing is missing after them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import time

import pytest

from lehr import uncompiled

LOOK = """
import gc, json, sys
{before}
from lehr.startup import quick_imports

with quick_imports():
    import lightning.pytorch
    import lehr.training.session
loaded = sorted({{"scipy.stats", "sklearn", "matplotlib"}} & set(sys.modules))
import scipy.signal
from torchmetrics.audio import SignalNoiseRatio
# Matplotlib comes when a metric is plotted, and is whole then
import matplotlib
matplotlib.use("agg")
import torch, torchmetrics
metric = torchmetrics.MeanMetric()
metric.update(torch.ones(3))
figure, axes = metric.plot()
assert isinstance(axes, matplotlib.axes.Axes) and isinstance(figure, matplotlib.figure.Figure)
assert torchmetrics.utilities.plot.plt.Figure is matplotlib.figure.Figure
print(json.dumps([loaded, gc.isenabled(), scipy.signal.convolve([1, 2], [1, 1]).tolist()]))
"""


def said_by(code: str) -> str:
    """What a process of its own prints that does this, and ends well."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("before", "loaded"), [("", []), ("import scipy.signal", ["scipy.stats"])])
def test_scipy_and_matplotlib_wait_until_they_are_needed_and_are_whole_then(before, loaded):
    code = LOOK.format(before=before)
    assert json.loads(said_by(code)) == [loaded, True, [1, 3, 2]]


def test_whoever_wants_more_of_the_placeholder_gets_the_module():
    code = (
        "import sys; from lehr.startup import _Placeholder\n"
        "sys.modules['scipy.signal'] = _Placeholder('scipy.signal', hamming=None)\n"
        "from scipy import signal; assert signal.hamming is None\n"
        "from scipy.signal import convolve; import scipy.signal\n"
        "assert convolve is scipy.signal.convolve is signal.convolve and scipy.signal.windows"
    )
    said_by(code)


WITHOUT_COMPILING = """
import sys
import torch
plain = torch.optim.Adam.step  # of no class that has an instance yet
from lehr.startup import quick_imports
with quick_imports():
    import lehr.training.session
from lightning.fabric import wrappers

def trained(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).pow(2).sum().backward()
        optimizer.step()
    return [parameter.tolist() for parameter in model.parameters()]

def begin():
    global model, optimizer
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    optimizer.load_state_dict(optimizer.state_dict())

begin()
spared = trained(3)
assert not isinstance(model, wrappers.OptimizedModule)
assert not {name for name in sys.modules if name.startswith(("torch._dynamo", "sympy"))}
compiled = torch.compile(model, backend="eager")
assert "torch._dynamo" in sys.modules and torch._dynamo.config
assert isinstance(compiled, wrappers.OptimizedModule) and not isinstance(model, wrappers.OptimizedModule)
torch.testing.assert_close(compiled(torch.ones(2, 3)), model(torch.ones(2, 3)))
further = trained(2)
torch.optim.Adam.step = plain
begin()
assert (trained(3), trained(2)) == (spared, further)
"""


@pytest.mark.slow
def test_what_compiles_comes_when_something_is_compiled_and_optimizers_do_the_same_before_and_after():
    said_by(WITHOUT_COMPILING)


def test_a_thread_waits_for_what_compiles_while_another_imports_it(monkeypatch, tmp_path):
    (tmp_path / "imported_slowly.py").write_text(
        "import time\ntime.sleep(0.3)\n"
        "OptimizedModule = list\ndisable = lambda function, recursive, reason: str.lower\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(uncompiled, "_NAME", "imported_slowly")
    function = uncompiled._disable(str.upper, reason="")
    assert function("A") == "A"
    assert not isinstance([], uncompiled._OptimizedModule)
    other = threading.Thread(target=importlib.import_module, args=("imported_slowly",))
    other.start()
    try:
        while "imported_slowly" not in sys.modules:
            time.sleep(0.001)
        assert function("A") == "a"
        assert isinstance([], uncompiled._OptimizedModule)
    finally:
        other.join()
        monkeypatch.delitem(sys.modules, "imported_slowly")


@pytest.mark.slow
def test_a_lightning_that_looks_for_more_gets_the_whole_module():
    code = (
        "from lehr import uncompiled\n"
        "del uncompiled._LOOKED_FOR['disable']\n"
        "uncompiled.import_lightning()\n"
        "from lightning.fabric import wrappers; import torch._dynamo\n"
        "assert wrappers.OptimizedModule is torch._dynamo.OptimizedModule"
    )
    said_by(code)
