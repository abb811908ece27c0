"""The reach of a latent against networks whose reach is known, with what is global and without."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.frozen import Recorder, attentions_of, norms_of
from lehr.evaluation.probes.reach import REACH
from lehr.models import KLAutoencoder

SMALL = {"base_channels": 8, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4}


def box(y):
    """A filter of 5 x 5: 2 pixels further."""
    return F.avg_pool2d(y, 5, stride=1, padding=2, count_include_pad=False)


def test_a_filter_reaches_as_far_as_it_is_wide():
    found = REACH.measure(inputs(Exact(64, of_images=box)))
    assert not found.fault
    side = 24 * 8
    assert found.values["local_reach"] == 2
    assert found.values["changed"] == pytest.approx((8 + 2 * 2) ** 2 / side**2)
    assert found.values["far"] == found.values["far_both_held"] == 0
    assert "0 norms over the whole map, 0 blocks of attention" in found.sentence


def test_a_latent_that_changes_all_of_the_image_is_a_fault():
    found = REACH.measure(inputs(Exact(64, of_images=lambda y: y + 80 * y.mean((2, 3), keepdim=True))))
    assert found.fault
    assert found.values["changed"] == 1
    of_all = 80**2 * 64 / 192**2  # the energy of the mean, over that of the cell itself
    assert found.values["far"] == pytest.approx(of_all / (1 + of_all) * (1 - 72**2 / 192**2), rel=0.1)


@pytest.mark.parametrize("attention", [pytest.param(True, marks=pytest.mark.slow), False])
def test_norms_make_a_network_global_even_without_attention_and_held_still_it_is_local(attention):
    torch.manual_seed(0)
    model = KLAutoencoder((3, 96, 96), mid_attention=attention, **SMALL)
    found = REACH.measure(inputs(model, smooth_images(2, 96))).values
    # far from the change of a random network little is left, but every pixel has some of it
    assert found["changed"] > 0.99
    assert found["changed_attention_held"] > 0.99
    assert (found["changed_norms_held"] > 0.99) is attention
    # convolutions of 3 x 3: 9 on cells of 2 pixels and 6 on pixels; the outermost are reached by next to nothing
    assert 18 <= found["local_reach"] <= 24
    assert found["changed_both_held"] <= (2 + 2 * 24) ** 2 / 96**2
    assert found["far_both_held"] < found["far"]
    if not attention:
        assert found["changed_both_held"] == found["changed_norms_held"]


def test_what_is_held_changes_nothing_where_nothing_changes():
    torch.manual_seed(0)
    model = KLAutoencoder((3, 16, 16), **SMALL).double().eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 1.0, 0.3)  # norms with scales and shifts of their own
    z = torch.randn(1, 4, 8, 8, dtype=torch.float64)
    recorder = Recorder([*norms_of(model), *attentions_of(model)])
    with recorder.recording():
        before = model.decode(z)
    with recorder.held():
        torch.testing.assert_close(model.decode(z), before, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.decode(z), before, rtol=0, atol=0)


def test_of_a_model_of_one_size_the_map_has_to_have_somewhere_that_is_far():
    class OneSize(Exact):
        any_size = False

    assert REACH.lacks(inputs(OneSize(64))) == "in a latent map of 8 cells nothing is far"
    assert REACH.lacks(inputs(OneSize(96), smooth_images(2, 96))) is None
