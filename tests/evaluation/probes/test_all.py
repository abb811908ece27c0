"""How probes are run, and what becomes of what they find."""

from __future__ import annotations

import pytest
import torch
from toy import Exact, inputs

from lehr.config.probes import PROBES as NAMES
from lehr.errors import ConfigError
from lehr.evaluation.catalogue import find_metric
from lehr.evaluation.probes.all import PROBES, plain, run_probes
from lehr.evaluation.probes.probe import Probe, Probed, cell_side, lacks_map
from lehr.evaluation.probes.table import probe_table
from lehr.models import KLAutoencoder
from lehr.models.autoencoder import Autoencoder


def test_the_probes_are_those_that_the_configuration_knows_in_its_order():
    assert [probe.name for probe in PROBES] == list(NAMES)


def test_every_value_of_every_probe_is_in_the_catalogue():
    outcomes = run_probes(inputs(Exact()))
    names = [f"probe/{name}" for name in plain(outcomes)]
    assert {name for name in names if find_metric(name) is None} == set()
    for name, outcome in outcomes.items():
        assert isinstance(outcome, str) or outcome.picture is None or outcome.picture.dtype == torch.uint8, name


@pytest.mark.parametrize(
    ("sides", "cells", "side"),
    [
        ((32, 32), (8, 8), 4),
        ((28, 28), (4, 4), 8),
        ((30, 45), (8, 12), 4),
        ((224, 224), (16, 16), 14),
        ((8, 8), (8, 8), 1),
    ],
)
def test_a_cell_is_as_large_as_halvings_that_round_up_make_it(sides, cells, side):
    assert cell_side(sides, cells) == side


def test_a_probe_that_cannot_be_says_why_and_costs_no_other():
    def refuses(inputs):
        raise ConfigError("no weights")

    probes = [
        Probe("flat", lambda inputs: Probed({}, ""), lacks_map),
        Probe("refuses", refuses),
        Probe("finds", lambda inputs: Probed({"n": float(len(inputs))}, "all of them", fault=True)),
    ]
    model = Autoencoder((3, 64, 64), (2,))
    table = plain(run_probes(inputs(model), probes))
    assert table == {
        "flat/note": "latents are vectors, without positions",
        "refuses/note": "no weights",
        "finds/n": 16.0,
        "finds/sentence": "all of them",
        "finds/fault": True,
    }
    shown = probe_table({f"probe/{name}": value for name, value in table.items()})
    assert shown == (
        "    flat     -\n      latents are vectors, without positions\n"
        "    refuses  -\n      no weights\n"
        "  ! finds    n 16\n      all of them\n"
        "  ! is a fault"
    )


def test_a_cell_is_that_of_the_network_where_images_are_padded_or_cropped():
    """28 x 28 pixels are padded to 32 x 32, 4 x 4 cells of 8 and not of 7; 30 x 30 are cropped to 24 x 24."""
    small = {"base_channels": 4, "channel_multipliers": (1, 1, 1, 1), "layers": 1, "norm_groups": 2}
    for side, fit in ((28, "pad"), (30, "crop")):
        assert inputs(KLAutoencoder((3, side, side), fit=fit, **small)).factor == 8
