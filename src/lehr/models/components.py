"""What a run trains and evaluates, whoever holds it: a trainer, a fused lane or a finished run."""

from __future__ import annotations

from dataclasses import dataclass

from lehr.models.autoencoder import Autoencoder
from lehr.objective.bounds import Objective
from lehr.objective.likelihood import Likelihood
from lehr.objective.prior import Prior
from lehr.objective.rate import RateTerm


@dataclass(frozen=True)
class Components:
    """The parts of an autoencoder and of what it is trained on.

    Attributes:
        model: encoder and decoder.
        likelihood: what the decoder's output means.
        prior: p(z).
        rate_term: what the rate costs.
        objective: the bound that is maximised.
    """

    model: Autoencoder
    likelihood: Likelihood
    prior: Prior
    rate_term: RateTerm
    objective: Objective
