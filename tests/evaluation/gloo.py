"""One of two processes that share a data set: `count` runs in each of them."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist


def count(rank: int, world: int, data: str, batch: int) -> None:
    """Count this rank's rows of `mean`, `logvar` and `terms` in `data`; the first rank writes what all amount to."""
    from lehr.evaluation.aggregate import AggregatePosteriorMetric
    from lehr.evaluation.elbo import ELBOMetric
    from lehr.objective.elbo import Terms
    from lehr.posterior.gaussian import DiagonalGaussian

    path = Path(data)
    dist.init_process_group("gloo", init_method=f"file://{path}.store", rank=rank, world_size=world)
    tensors = torch.load(path, weights_only=True)
    n = len(tensors["mean"])
    posterior, elbo = AggregatePosteriorMetric(tensors["mean"].shape[1:]), ELBOMetric()
    last = n * (rank + 1) // world
    for start in range(n * rank // world, last, batch):
        rows = slice(start, min(start + batch, last))
        posterior.update(DiagonalGaussian(tensors["mean"][rows], tensors["logvar"][rows]))
        elbo.update(Terms(tensors["distortion"][rows], tensors["rate"][rows]))
    statistics, means = posterior.compute(), elbo.compute()
    of_maps = {}
    for name, batches in (("equal", tensors["maps"][:4]), ("mixed", tensors["maps"])):
        metric = AggregatePosteriorMetric(tuple(batches[0].shape[1:]), detailed=True)
        for mean in batches[rank::world]:  # the last of them on one rank alone
            metric.update(DiagonalGaussian(mean, mean.cos() - 9))
        found = metric.compute()
        of_maps |= {f"{name}.n": found.n, f"{name}.extremes": found.extremes, f"{name}.tallies": dict(found.tallies)}
        of_maps |= {f"{name}.{part}": getattr(found.whole, part) for part in ("mean", "mean_of_var", "var_of_mean")}
        of_maps |= {f"{name}.channel_{part}": getattr(found.channels, part) for part in ("mean", "var", "covariance")}
    torch.save(
        {"n": statistics.n, "mean": statistics.mean, "var": statistics.var, "covariance": statistics.covariance,
         "kl": statistics.kl, **means, **of_maps},
        f"{path}.{rank}",
    )  # fmt: skip
    dist.destroy_process_group()
