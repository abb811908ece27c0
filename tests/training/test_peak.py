"""How much memory a training took at most."""

from __future__ import annotations

import json
import mmap
import resource
import sys
import threading

import pytest
import torch

from lehr.training import peak
from lehr.training.peak import PeakMemory, highest_resident

CPU = torch.device("cpu")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the mark can be set back on Linux alone")
MIB = 2**20


def take(mib):
    """Hold so much memory for a moment, and give it back to the system."""
    with mmap.mmap(-1, mib * MIB) as held:
        for start in range(0, len(held), mmap.PAGESIZE):
            held[start] = 1


def measured(mib=0):
    with PeakMemory(CPU) as found:
        take(mib or 1)
    return found.found["memory/peak_mib"]


@linux
def test_what_was_held_within_is_found_and_nothing_of_before():
    before = measured()
    assert measured(200) == pytest.approx(before + 199, abs=20)
    assert measured() == pytest.approx(before, abs=20)


@linux
def test_it_is_what_the_system_says_of_the_process():
    with PeakMemory(CPU):
        take(100)
    assert highest_resident() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@linux
def test_where_the_mark_cannot_be_set_back_only_what_exceeds_it_is_known(monkeypatch):
    measured(50)
    monkeypatch.setattr(peak, "_set_back", lambda: False)
    with PeakMemory(CPU) as found:
        take(1)
    assert found.found == {}
    most = highest_resident() / MIB
    assert most + 100 < measured(400) < most + 401


def test_of_two_at_once_none_says_anything():
    with PeakMemory(CPU) as one:
        with PeakMemory(CPU) as other:
            pass
        take(10)
    assert one.found == other.found == {}
    with PeakMemory(CPU, alone=False) as lane:
        threads = [threading.Thread(target=measured_into, args=(both := [],))]
        for thread in threads:
            thread.start()
            thread.join()
    assert lane.found == both[0] == {}


def measured_into(found):
    with PeakMemory(CPU) as own:
        take(10)
    found.append(own.found)


def test_a_run_says_it_where_its_times_stand(finished_run):
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert 50 < metrics["memory/peak_mib"] < 100_000
    assert "memory/gpu_peak_mib" not in metrics
