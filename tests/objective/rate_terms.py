"""One rate term of each kind, for what holds of all of them."""

from __future__ import annotations

from lehr.objective import GECO, MMD, AnnealedKL, BetaTC, Capacity, ControlVAE, FreeBits

# schedules that are under way: at step 3 half of the target
RAMP = {"hold": 1, "warmup": 4, "unit": "step"}
TERMS = {
    "annealed": lambda: AnnealedKL(0.8, **RAMP),
    "free bits per dimension": lambda: FreeBits(0.6, weight=0.8, **RAMP),
    "free bits per channel": lambda: FreeBits(1.5, "channel", weight=0.8, **RAMP),
    "free bits of all": lambda: FreeBits(1.5, "all", weight=0.8, **RAMP),
    "no free bits": lambda: FreeBits(100.0, weight=0.8, **RAMP),
    "capacity above": lambda: Capacity(2.0, gamma=30.0, **RAMP),
    "capacity below": lambda: Capacity(100.0, gamma=30.0, **RAMP),
    "geco": lambda: GECO(21.0, speed=0.1, weight=0.7),
    "control": lambda: ControlVAE(1.0, ki=0.1),
    "beta-tc": lambda: BetaTC(3.0, weight=0.8, **RAMP),
    "mmd": lambda: MMD(0.25, 20.0, weight=0.8, **RAMP),
}
