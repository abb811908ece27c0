"""What the latents hold, over the examples that are evaluated."""

from __future__ import annotations

from torch import Tensor

from lehr import randomness
from lehr.evaluation.mutual_information import MutualInformation, mutual_information
from lehr.evaluation.section import Inputs, Section, Table
from lehr.evaluation.statistics import MOST_LISTED
from lehr.evaluation.verdict import Evidence, verdict
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.codes import perplexity
from lehr.posterior.collapse import (
    MomentKL,
    active_units,
    active_units_curve,
    collapsed_units,
    count_uninformed,
    effective_rank,
    informative_units,
    moment_kls,
    participation_ratio,
)

_MOST_FOR_INFORMATION = 10_000  # posteriors: the time grows with their square
_ENOUGH_LATENTS, _MOST_DRAWS = 5_000, 16  # of few posteriors several latents each are drawn


def _measure(inputs: Inputs) -> Table:
    aggregate = AggregatePosterior.of(inputs.encoded.posterior)
    moments = moment_kls(aggregate)
    if aggregate.kl is None:  # q(z|x) has no density
        return _codes(aggregate) | _units(aggregate) | _moments(moments) | _ranks(aggregate)
    collapsed = collapsed_units(count_uninformed(inputs.encoded.posterior), len(inputs.encoded))
    information = _information(inputs)
    known = not information.problem
    standard = inputs.subject.prior.is_standard_normal
    evidence = Evidence(
        latents=len(aggregate.mean),
        active=active_units(aggregate.var_of_mean),
        rate=float(inputs.weighted.rate.mean()),
        collapsed=collapsed if standard else None,
        information=information,
        moments=moments if standard else None,
    )
    return {
        "verdict": verdict(evidence),
        **_units(aggregate),
        **_listed(aggregate.kl),
        "informative_units": informative_units(aggregate.kl),
        "collapsed_units": collapsed,
        "mi_lower": information.lower if known else None,
        "mi_upper": information.upper if known else None,
        "mi_cap": information.cap,
        "mi_saturated": information.saturated if known else None,
        "mi_examples": information.m,
        "mi_problem": information.problem,
        "marginal_kl_lower": information.marginal_kl_lower if known else None,
        "marginal_kl_upper": information.marginal_kl_upper if known else None,
        **_moments(moments),
        **_ranks(aggregate),
    }


def _information(inputs: Inputs) -> MutualInformation:
    """I_q(x; z), of at most 10,000 examples."""
    encoded, plan = inputs.encoded, inputs.plan
    m = min(len(encoded), _MOST_FOR_INFORMATION)
    samples = max(1, min(_MOST_DRAWS, _ENOUGH_LATENTS // m))
    with inputs.show("mutual information", m * samples) as line:
        rows = randomness.permutation(plan.seed, "evaluate/information", 0, len(encoded))[:m].sort().values
        return mutual_information(
            encoded.posterior[rows],
            seed=plan.seed,
            samples=samples,
            prior=inputs.subject.prior,
            advance=line.advance,
        )


def _codes(aggregate: AggregatePosterior) -> Table:
    """How many of a codebook are in use; nothing where there is none."""
    if (usage := aggregate.usage) is None:
        return {}
    return {"codes": len(usage), "codes_used": int((usage > 0).sum()), "code_perplexity": float(perplexity(usage))}


def _listed(kl: Tensor) -> Table:
    """Of each latent, unless there are so many that nobody reads them."""
    return {"kl_per_dimension": kl.tolist()} if len(kl) <= MOST_LISTED else {}


def _units(aggregate: AggregatePosterior) -> Table:
    return {
        "latents": len(aggregate.mean),
        "active_units": active_units(aggregate.var_of_mean),
        "active_units_curve": {str(t): count for t, count in active_units_curve(aggregate.var_of_mean).items()},
    }


def _moments(moments: MomentKL) -> Table:
    return {
        "moment_kl_diag": moments.diagonal,
        "moment_kl_full": moments.full,
        "total_correlation": moments.total_correlation,
        "moment_kl_bias": moments.bias,
        "moment_kl_problem": moments.problem,
    }


def _ranks(aggregate: AggregatePosterior) -> Table:
    return {
        "effective_rank_signal": effective_rank(aggregate.signal),
        "participation_ratio_signal": participation_ratio(aggregate.signal),
    }


COLLAPSE = Section("collapse", _measure)
