"""What quick imports leave out, and that nothing is missing after them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("before", "loaded"), [("", []), pytest.param("import scipy.signal", ["scipy.stats"], marks=pytest.mark.slow)]
)
def test_scipy_and_matplotlib_wait_until_they_are_needed_and_are_whole_then(before, loaded):
    code = LOOK.format(before=before)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [loaded, True, [1, 3, 2]]


def test_whoever_wants_more_of_the_placeholder_gets_the_module():
    code = (
        "import sys; from lehr.startup import _Placeholder\n"
        "sys.modules['scipy.signal'] = _Placeholder('scipy.signal', hamming=None)\n"
        "from scipy import signal; assert signal.hamming is None\n"
        "from scipy.signal import convolve; import scipy.signal\n"
        "assert convolve is scipy.signal.convolve is signal.convolve and scipy.signal.windows"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
