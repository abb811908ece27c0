"""The launcher of sweeps whose runs are given objects: one run after another in this process, which alone has them."""

from __future__ import annotations

import time

from lehr.config.given import Given
from lehr.sweeps.launching import Finished, Jobs, record_end
from lehr.sweeps.runner import run_point

_WAIT_SECONDS = 1.0


class Here:
    """Trains points in this process.

    Args:
        given: what stands in place of names in each of them.
        retry: try again what has failed before this time; as of `run_point`.
    """

    def __init__(self, given: Given, retry: str | None = None) -> None:
        self._given, self._retry = given, retry

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        for job in jobs:
            if job is None:
                time.sleep(_WAIT_SECONDS)
                continue
            run_point(job, self._retry, own_process=False, given=self._given)
            record_end(job)
            finished(job)
