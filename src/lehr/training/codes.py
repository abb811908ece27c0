"""Codes that nothing chooses any more, and that begin anew at what the encoder gives.

Only the code that is nearest to an output is drawn to it, so one that is never the nearest stays where it is while the
outputs move on. Such codes are put at outputs of the batch at hand, "random restarts" of Dhariwal et al. 2020
(Jukebox, section 3.1).

Shapes: b examples of this rank; K codes of k numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lehr import randomness
from lehr.data.batch import Batch
from lehr.models.autoencoder import Autoencoder
from lehr.posterior.codes import Codes, relative_use, vectors
from lehr.posterior.posterior import Posterior
from lehr.training.ema import Averaging
from lehr.training.players import Players

EVERY = 10
"""Optimiser steps from one look for dead codes to the next: a GPU has to be waited for."""


class Revival:
    """The codes of a training that begin anew, if any are to, from its start through its checkpoints to its end.

    How often each code is used is averaged over optimiser steps, as a multiple of what it would be if all were alike.
    It begins at 1, for every code and for one that has begun anew, and a code that is used no more is dead once
    `revive_decay`^steps < `revive`: after 230 steps for 0.99 and 0.1. Codes that are not trained are left alone, and
    so are those of pretrained weights, which others may have learnt to read.

    Everything is of the global batch, so the number of ranks changes nothing.

    Args:
        model: what is trained.
        seed: of the run; which outputs are taken is a function of it and of the step.
    """

    def __init__(self, model: Autoencoder, seed: int) -> None:
        self._model, self._seed = model, seed
        self._average: Tensor | None = None  # (K,)
        self._saved: Mapping[str, Any] = {}
        self._usage: Tensor | None = None  # (K,) of the batches since the last optimiser step
        # of the last of them: outputs (b, k, *positions), examples of earlier ranks, examples of all ranks
        self._batch = torch.empty(0, 0), 0, 0
        self._step = 0
        self.revived = 0
        """Codes that have begun anew, over the whole training."""

    @property
    def is_on(self) -> bool:
        """Whether codes may begin anew."""
        return self._average is not None

    def start(self) -> None:
        """Count from now on, from where an earlier training has come to. What is frozen has to be so already."""
        self._usage = None
        if not self._model.revive or _is_kept(self._model):
            self._average = None
            return
        codebook = _codebook(self._model)
        if self._average is None:
            self._average = codebook.new_ones(len(codebook), dtype=torch.float32)
        if self._saved:
            self._average = self._saved["average"].to(self._average)
            self.revived, self._saved = int(self._saved["revived"]), {}

    def count(self, posterior: Posterior, batch: Batch, step: int) -> None:
        """Take account of a batch of training, of optimiser step `step`."""
        if self._average is None:
            return
        assert isinstance(posterior, Codes)
        usage = posterior.usage
        self._usage = usage if self._usage is None else self._usage + usage
        self._batch = posterior.output.detach(), batch.start, batch.total
        self._step = step

    @torch.no_grad()
    def after_step(self, players: Players, averaging: Averaging, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Let dead codes begin anew after an optimiser step, at outputs of its last batch.

        Args:
            players: whose optimizer forgets what it knows of them.
            averaging: whose average is what they are now.
            sum_over_ranks: adds up a tensor over all ranks, in place.
        """
        if self._average is None or self._usage is None:
            return
        usage, self._usage = sum_over_ranks(self._usage), None
        self._average.lerp_(relative_use(usage), 1 - self._model.revive_decay)
        if (self._step + 1) % EVERY:
            return
        dead = (self._average < self._model.revive).nonzero()[:, 0]
        if not len(dead):
            return
        codebook = _codebook(self._model)
        found = sum_over_ranks(self._drawn(len(dead)))
        if not found.isfinite().all():  # float16 has overflowed, and the step was left out
            return
        dead = dead[: len(found)]  # of fewer outputs than dead codes the others wait
        codebook[dead] = found.to(codebook)
        self._average[dead] = 1
        players.forget(codebook, dead)
        averaging.renew(codebook, dead)
        self.revived += len(dead)

    def _drawn(self, n: int) -> Tensor:
        """(n, k) what the encoder gave at n positions of the batch of all ranks, or at all if it has fewer.

        Those of this rank's examples; 0 for those that another has.
        """
        output, before, total = self._batch
        positions = math.prod(output.shape[2:])
        chosen = randomness.permutation(self._seed, "codes", self._step, total * positions)[:n] - before * positions
        own = (chosen >= 0) & (chosen < len(output) * positions)
        found = output.new_zeros(len(chosen), output.shape[1])
        found[own.nonzero()[:, 0].to(output.device)] = vectors(output)[chosen[own].to(output.device)]
        return found

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint what there is to go on from."""
        if self._average is not None:
            checkpoint["codes"] = {"average": self._average, "revived": self.revived}

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, if it has something to go on from, once the training starts."""
        self._average, self._saved = None, checkpoint.get("codes") or {}


def kept_note(model: Autoencoder) -> str | None:
    """What there is to say where codes would begin anew but for where they are from."""
    if not model.revive or not (name := getattr(model, "pretrained", None)):
        return None
    return f"note: the codes of model.pretrained={name} stay the codes that they are: model.revive counts for new ones"


def _is_kept(model: Autoencoder) -> bool:
    """Whether codes stay the codes that they are: frozen, or of pretrained weights."""
    return not _codebook(model).requires_grad or getattr(model, "pretrained", None) is not None


def _codebook(model: Autoencoder) -> Tensor:
    codebook = getattr(model, "codebook", None)
    assert isinstance(codebook, Tensor)
    return codebook
