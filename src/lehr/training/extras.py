"""What whoever has a run trained gives it beside its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from lehr.config.given import NOTHING, Given
from lehr.run.claim import Claim

if TYPE_CHECKING:
    from lehr.training.fused.lanes import Lane


@dataclass(frozen=True)
class Extras:
    """What a run is trained with beside its configuration.

    Attributes:
        trust: packages of the user's own whose classes may be built.
        given: what stands in place of names of the configuration, see `lehr.run.objects`.
        claim: to the directory, where the caller has it already.
        import_seconds: what starting the program took, for the record.
        hyperparameters: what loggers show that the run is compared by; None for what people compare most.
        callbacks: after those of the configuration.
        stage, stages: which of how many stages of the run this training is; 0 is the first.
        before: what is done once this run can start, and before its directory is touched.
        lane: where the run is trained in step with others.
    """

    trust: tuple[str, ...] = ()
    given: Given = field(default_factory=lambda: NOTHING)
    claim: Claim | None = None
    import_seconds: float = 0.0
    hyperparameters: Mapping[str, Any] | None = None
    callbacks: tuple[Callback, ...] = ()
    stage: int = 0
    stages: int = 1
    before: Callable[[], None] | None = None
    lane: Lane | None = None

    def of_run(self, fraction: float) -> float:
        """How much of the run is done where so much of this training is."""
        return (self.stage + fraction) / self.stages


NO_EXTRAS = Extras()
