"""What the diagnostics of collapse amount to, in words that name the numbers they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from lehr.evaluation.mutual_information import MutualInformation
    from lehr.posterior.collapse import MomentKL

SILENT = 0.1
"""Nats of rate below which the latents as a whole count as collapsed."""

FAR = 1.0
"""Nats of KL(q(z) || p(z)) above which samples of the prior are said to be worse than those of q(z)."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Attributes:
        latents: d, how many there are.
        active: how many are active, Var_x(E[z_j|x]) > 0.01.
        rate: in nats per example.
        collapsed: how many are (0.01, 0.01)-collapsed; None if not counted, or for a prior other than N(0, I).
        information: I_q(x; z); None if it was not estimated.
        moments: the moment KL of q(z); None for a prior other than N(0, I).
    """

    latents: int
    active: int
    rate: float
    collapsed: int | None = None
    information: MutualInformation | None = None
    moments: MomentKL | None = None


def is_collapsed(rate: float, active: int) -> bool:
    """Whether the latents as a whole hold next to nothing, for their rate in nats and the number of active ones."""
    return rate < SILENT or active == 0


def verdict(evidence: Evidence) -> str:
    """At most three sentences: on collapse, on the information about x, and on q(z) against the prior."""
    sentences = [_collapse(evidence), _information(evidence), _prior(evidence)]
    return " ".join(sentence for sentence in sentences if sentence)


def _collapse(e: Evidence) -> str:
    from lehr.posterior.collapse import DELTA, THRESHOLD  # late: advice needs no torch

    numbers = f"the rate is {e.rate:.2f} nats"
    if e.rate < SILENT:
        return f"Collapsed: {numbers} and {e.active} of {e.latents} units are active."
    if e.active == 0:
        return f"Collapsed: 0 of {e.latents} units are active, though {numbers}."
    if e.active < e.latents:
        at_prior = "" if e.collapsed is None else f", {e.collapsed} match the prior on {1 - DELTA:.0%} of images"
        return (
            f"Partly collapsed: {e.latents - e.active} of {e.latents} units do not vary with the image "
            f"(variance of the mean at most {THRESHOLD:g}){at_prior}; {numbers}."
        )
    return f"Not collapsed: {e.active} of {e.latents} units are active and {numbers}."


def _information(e: Evidence) -> str:
    i = e.information
    if i is None:
        return ""
    if i.problem:
        return f"{i.problem[0].upper()}{i.problem[1:]}."
    if i.saturated:
        return (
            f"The estimate of the information in the latents is saturated at ln M = {i.cap:.2f} nats "
            f"(M = {i.m}, bounds {i.lower:.2f} and {i.upper:.2f})."
        )
    low, high = f"{i.lower:.2f}", f"{i.upper:.2f}"
    how_much = f"about {low}" if low == high else f"between {low} and {high}"
    return f"The latents hold {how_much} nats of information about the image."


def _prior(e: Evidence) -> str:
    evidence = []
    if e.moments is not None and e.moments.full is not None:
        evidence.append(f"moment KL {e.moments.full:.2f} nats")
    elif e.moments is not None and e.moments.diagonal is None:
        evidence.append(str(e.moments.problem))
    elif e.moments is not None:
        evidence.append(f"moment KL of the diagonal {e.moments.diagonal:.2f} nats: {e.moments.problem}")
    if _says_something(e.information):
        low, high = f"{e.information.marginal_kl_lower:.2f}", f"{e.information.marginal_kl_upper:.2f}"
        evidence.append(f"marginal KL {low if low == high else f'{low} to {high}'} nats")
    if not evidence:
        return ""
    known = ", ".join(evidence)
    if _is_far(e):
        return f"The latents are far from the prior ({known}), so samples of the prior will be worse than of q(z)."
    return f"No sign that the latents are far from the prior ({known})."


def _says_something(information: MutualInformation | None) -> TypeGuard[MutualInformation]:
    return information is not None and not information.saturated and not information.problem


def _is_far(e: Evidence) -> bool:
    """Whether a lower bound on KL(q(z) || p(z)) is large, and not by the small number of examples alone."""
    bounds = []
    if e.moments is not None:
        moment_kl = e.moments.diagonal if e.moments.full is None else e.moments.full
        bounds.append(math.inf if moment_kl is None else moment_kl - e.moments.bias)
    if _says_something(e.information):
        bounds.append(e.information.marginal_kl_lower)
    return any(not bound <= FAR for bound in bounds)
