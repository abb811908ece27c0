"""How probes are run, and what becomes of what they find."""

from __future__ import annotations

import torch
from toy import Exact, inputs

from lehr.config.probes import PROBES as NAMES
from lehr.errors import ConfigError
from lehr.evaluation.catalogue import find_metric
from lehr.evaluation.probes.all import PROBES, plain, run_probes
from lehr.evaluation.probes.probe import Probe, Probed, lacks_map
from lehr.evaluation.probes.table import probe_table
from lehr.models.autoencoder import Autoencoder


def test_the_probes_are_those_that_the_configuration_knows_in_its_order():
    assert [probe.name for probe in PROBES] == list(NAMES)


def test_every_value_of_every_probe_is_in_the_catalogue():
    outcomes = run_probes(inputs(Exact()))
    names = [f"probe/{name}" for name in plain(outcomes)]
    assert {name for name in names if find_metric(name) is None} == set()
    for name, outcome in outcomes.items():
        assert isinstance(outcome, str) or outcome.picture is None or outcome.picture.dtype == torch.uint8, name


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
