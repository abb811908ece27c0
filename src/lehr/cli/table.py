"""What `lehr evaluate` prints: the numbers of an evaluation that people look at, each with its unit."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

Table = Mapping[str, Any]
_WIDTH = 100
_LABEL = 24


def evaluation_table(table: Table) -> str:
    """The table as text, section by section; what was not measured is left out."""
    sections = [
        [f"  {table['dataset']}, {table['split']}: {table['examples']:,} examples"],
        list(_likelihood(table)),
        list(_collapse(table)),
        list(_reconstruction(table)),
        list(_generation(table)),
        list(_representation(table)),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _row(label: str, value: str, unit: str = "") -> str:
    return f"  {label:<{_LABEL}}{value:>12}  {unit}".rstrip()


def _number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1e7 or not math.isfinite(value):
        return f"{value:.4g}"
    return f"{value:,.{digits}f}".replace("-0." + "0" * digits, "0." + "0" * digits)


def _likelihood(t: Table) -> Iterator[str]:
    yield _row("ELBO", _number(t["likelihood/elbo"]), "nats per example")
    yield _row("  rate", _number(t["likelihood/rate"]), "nats")
    yield _row("  distortion", _number(t["likelihood/distortion"]), "nats")
    k = t["likelihood/iwae_samples"]
    error = _number(t["likelihood/iwae_standard_error"])
    yield _row("importance-weighted", _number(t["likelihood/iwae"]), f"nats, K = {k:,}, standard error {error}")
    yield _row("  effective samples", _number(t["likelihood/ess"], 1), f"of {k:,}")
    bits = t.get("likelihood/bits_per_dim")
    if bits is not None:
        yield _row("bits per dimension", _number(bits, 4), str(t.get("likelihood/bits_per_dim_note", "")))
    elif note := t.get("likelihood/bits_per_dim_note"):
        yield from textwrap.wrap(note, _WIDTH, initial_indent="  no bits per dimension: ", subsequent_indent="    ")


def _collapse(t: Table) -> Iterator[str]:
    yield _row("active units", f"{t['collapse/active_units']}", f"of {t['collapse/latents']}")
    low, high = t["collapse/mi_lower"], t["collapse/mi_upper"]
    cap = f"ln M = {t['collapse/mi_cap']:.2f}"
    if t["collapse/mi_saturated"]:
        yield _row("information I(x; z)", f">= {low:.2f}", f"nats; saturated: the estimate is capped at {cap}")
    else:
        yield _row("information I(x; z)", f"{low:.2f} - {high:.2f}", f"nats; the cap is {cap}")
    yield _row("moment KL, diagonal", _number(t["collapse/moment_kl_diag"], 3), "nats, of q(z) to N(0, I)")
    if t["collapse/moment_kl_full"] is not None:
        yield _row("moment KL, full", _number(t["collapse/moment_kl_full"], 3), "nats")
    elif t["collapse/moment_kl_problem"]:
        yield _row("moment KL, full", "-", t["collapse/moment_kl_problem"])
    yield _row("effective rank", _number(t["collapse/effective_rank_signal"], 1), "of the signal Cov(E[z|x])")
    yield from textwrap.wrap(t["collapse/verdict"], _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _reconstruction(t: Table) -> Iterator[str]:
    yield f"  {'reconstruction':<{_LABEL}}{'mean of q(z|x)':>16}{'sample':>12}"
    for name, label, digits in (("psnr", "  PSNR, dB", 2), ("ssim", "  SSIM", 4), ("mse", "  MSE per pixel", 5)):
        mean, sampled = t[f"reconstruction/{name}"], t[f"reconstruction/{name}_sampled"]
        yield f"  {label:<{_LABEL}}{_number(mean, digits):>16}{_number(sampled, digits):>12}"


def _generation(t: Table) -> Iterator[str]:
    names = [key.split("/")[1] for key in t if key.startswith("generation/") and key.endswith("/frechet")]
    if not names:
        if note := t.get("generation/note"):
            yield f"  no comparison of samples: {note}"
        return
    digits = {"frechet": 2, "kernel": 4, "density": 3, "coverage": 3}
    yield f"  {'samples':<{_LABEL}}" + "".join(f"{title:>12}" for title in digits) + f"{'log p(z)':>12}"
    for name in names:
        cells = [_number(t[f"generation/{name}/{key}"], n) for key, n in digits.items()]
        bound = ">= " if t.get(f"generation/{name}/latent_log_prob_is_bound") else ""
        cells.append(bound + _number(t.get(f"generation/{name}/latent_log_prob")))
        yield f"    {name:<{_LABEL - 2}}" + "".join(f"{cell:>12}" for cell in cells)
    yield from textwrap.wrap(t["generation/features"], _WIDTH, initial_indent="  features: ", subsequent_indent="    ")
    for name, reason in t["generation/left_out"].items():
        yield from textwrap.wrap(reason, _WIDTH, initial_indent=f"  {name} left out: ", subsequent_indent="    ")
    if t.get("generation/note"):
        yield from textwrap.wrap(t["generation/note"], _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _representation(t: Table) -> Iterator[str]:
    if t.get("representation/probe_accuracy") is not None:
        baseline = f"linear, from the mean of q(z|x); always the commonest: {t['representation/probe_baseline']:.3f}"
        yield _row("probe accuracy", _number(t["representation/probe_accuracy"], 4), baseline)
    scores = {"mig": "MIG", "sap": "SAP", "dci": "DCI disentanglement", "factor_vae": "FactorVAE score"}
    for name, label in scores.items():
        if t.get(f"representation/{name}") is not None:
            yield _row(label, _number(t[f"representation/{name}"], 3))
    if t.get("representation/note"):
        yield f"  {t['representation/note']}"
