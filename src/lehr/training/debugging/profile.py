"""`debug=profile`: where the time of a training step goes, as a table and as a trace."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.profiler import ProfilerActivity, profile, schedule

from lehr.files import replacing, write_text
from lehr.run.directory import RunDirectory
from lehr.training.debugging.ranges import PARTS, PREFIX, Ranges, within_the_objective
from lehr.training.debugging.values import RECORDED, TIMED, UNTIMED, WARMING
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule

_STEP = "ProfilerStep"
_ENGINE = "autograd::engine::evaluate_function: "
_LOOP = "loop"
_OPERATORS = 10
_WIDTH = 40


@dataclass(frozen=True)
class Spent:
    """What the steps of a profile spent on something, all of them together.

    Attributes:
        cpu: microseconds.
        gpu: microseconds of kernels, 0.0 without a GPU.
        calls: how often.
    """

    cpu: float = 0.0
    gpu: float = 0.0
    calls: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.cpu + other.cpu, self.gpu + other.gpu, self.calls + other.calls)


class StepProfile(LeanCallback):
    """Takes a profile of a few steps and writes `profile/step.txt` and `profile/trace.json`.

    The steps before are timed by the clock alone, since the profiler itself takes its time.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._ranges = Ranges(self._before_fetching)
        self._trainer: Trainer | None = None
        self._module: VAEModule | None = None
        self._profile: profile | None = None
        self._patches = ExitStack()
        self._steps = 0
        self._clock = [0.0, 0.0]

    def setup(self, trainer: Trainer, pl_module: VAEModule, stage: str) -> None:  # type: ignore[override]
        if stage == "fit":
            trainer.profiler = self._ranges  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        activities = [ProfilerActivity.CPU]
        if pl_module.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        plan = schedule(wait=UNTIMED + TIMED, warmup=WARMING, active=RECORDED, repeat=1)
        self._trainer, self._module, self._steps = trainer, pl_module, trainer.global_step
        self._profile = profile(activities=activities, schedule=plan, acc_events=True)
        self._profile.start()

    def _before_fetching(self) -> None:
        """Whether a step has ended since: batches that are accumulated are one."""
        if self._profile is None or self._trainer is None or self._module is None:
            return
        if self._trainer.global_step == self._steps:
            return
        self._steps += 1
        if self._steps in (UNTIMED, UNTIMED + TIMED):
            if self._module.device.type == "cuda":
                torch.cuda.synchronize()
            self._clock[self._steps != UNTIMED] = time.perf_counter()
        if self._steps == UNTIMED + TIMED:
            self._ranges.recording = True
            self._patches.enter_context(within_the_objective(self._module))
        with _library_silent():
            self._profile.step()
        if self._steps == UNTIMED + TIMED + WARMING + RECORDED:
            self._end(self._profile, self._module)

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._profile is not None:  # as of a run that was interrupted and has gone on
            self._stop(self._profile)
            print(
                "debug=profile: the training has ended before enough steps were recorded; once more in another dir",
                file=sys.stderr,
                flush=True,
            )

    def on_exception(self, trainer: Trainer, pl_module: VAEModule, exception: BaseException) -> None:  # type: ignore[override]
        if self._profile is not None:
            self._stop(self._profile)

    def _stop(self, taken: profile) -> None:
        self._profile, self._ranges.recording = None, False
        self._patches.close()
        with _library_silent():
            taken.stop()

    def _end(self, taken: profile, module: VAEModule) -> None:
        self._stop(taken)
        events = list(taken.events() or ())
        parts, steps = parts_of(events)
        if not steps:
            return
        alone = (self._clock[1] - self._clock[0]) / TIMED
        table = step_table(parts, operators_of(events), steps, alone, _what(module)) + _of_logging(module)
        folder = self._directory.path / "profile"
        with replacing(folder / "trace.json") as temporary:
            taken.export_chrome_trace(str(temporary))
        write_text(folder / "step.txt", table)
        where = f"  trace  {folder / 'trace.json'}, for https://ui.perfetto.dev or chrome://tracing"
        print(f"\n{table}\n{where}", file=sys.stderr, flush=True)


@contextmanager
def _library_silent() -> Iterator[None]:
    """Hide what the library below torch's profiler writes straight to the process's standard error."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # which is closed
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def parts_of(events: Sequence[Any]) -> tuple[dict[str, Spent], int]:
    """What each part of the recorded steps spent by itself, without the parts within it, and how many steps these are.

    So the parts add up to the steps. A kernel counts for the part that has launched it, whenever it ran.
    """
    on_cpu = [event for event in events if event.device_type.name == "CPU"]
    ranges = [event for event in on_cpu if event.name.startswith((PREFIX, _STEP))]
    steps = [event for event in ranges if event.name.startswith(_STEP)]
    if not steps:
        return {}, 0
    inside = [e for e in ranges if e.thread == steps[0].thread and _lies_in(e, steps)]
    found: dict[str, Spent] = {}
    open_ranges: list[tuple[float, str]] = []  # end and part of those that a moment lies in, the innermost last
    # of what begins at the same time the longer one is outside, and an operator is in what begins with it
    moments = [(e.time_range.start, -e.time_range.end, 0, e) for e in inside]
    moments += [(e.time_range.start, -e.time_range.end, 1, e) for e in on_cpu if e.kernels]
    for start, negative_end, is_operator, event in sorted(moments, key=lambda moment: moment[:3]):
        while open_ranges and open_ranges[-1][0] <= start:
            open_ranges.pop()
        if is_operator:
            if open_ranges:
                gpu = sum(kernel.duration for kernel in event.kernels)
                found[open_ranges[-1][1]] = found.get(open_ranges[-1][1], Spent()) + Spent(gpu=gpu)
            continue
        part = _LOOP if event.name.startswith(_STEP) else event.name.removeprefix(PREFIX)
        length = -negative_end - start
        if open_ranges:
            outer = open_ranges[-1][1]
            found[outer] = found.get(outer, Spent()) + Spent(cpu=-length)
        found[part] = found.get(part, Spent()) + Spent(cpu=length, calls=1)
        open_ranges.append((-negative_end, part))
    return found, len(steps)


def _lies_in(event: Any, steps: Sequence[Any]) -> bool:
    return any(s.time_range.start <= event.time_range.start and event.time_range.end <= s.time_range.end for s in steps)


def operators_of(events: Sequence[Any]) -> dict[str, Spent]:
    """What each operator spent by itself."""
    found: dict[str, Spent] = {}
    for event in events:
        if event.device_type.name == "CPU" and not event.name.startswith((PREFIX, _STEP)):
            gpu = sum(kernel.duration for kernel in event.kernels)
            name = event.name.removeprefix(_ENGINE)
            found[name] = found.get(name, Spent()) + Spent(event.self_cpu_time_total, gpu, 1)
    return found


def step_table(parts: Mapping[str, Spent], operators: Mapping[str, Spent], steps: int, alone: float, what: str) -> str:
    """The parts of a step, in their order, and the operators that take most of it.

    Args:
        parts: what each spent by itself, over all steps.
        operators: the same of each operator.
        steps: how many were recorded.
        alone: seconds of a step without the profiler.
        what: was trained, in a few words.
    """
    total = sum(parts.values(), Spent())
    has_gpu = total.gpu > 0
    order = {name: i for i, name in enumerate((*PARTS, _LOOP))}
    named = sorted(parts, key=lambda name: order.get(name, len(order)))
    lines = [
        f"  A training step of {what}: {1000 * alone:.2f} ms; {total.cpu / steps / 1000:.2f} ms with the profiler.",
        f"  What each part of it takes, the mean of {steps} steps with the profiler:",
        "",
        _row("part", "ms", "share", "calls", "ms GPU" if has_gpu else None),
        *(_spent(name, parts[name], total, steps, has_gpu) for name in named),
        _spent("step", Spent(total.cpu, total.gpu, steps), total, steps, has_gpu),
        "",
        _row("operator", "ms", "share", "calls", "ms GPU" if has_gpu else None),
    ]
    key = (lambda name: operators[name].gpu) if has_gpu else (lambda name: operators[name].cpu)
    most = sorted(operators, key=key, reverse=True)[:_OPERATORS]
    lines += [_spent(name, operators[name], total, steps, has_gpu) for name in most]
    return "\n".join(lines) + "\n"


def _spent(name: str, spent: Spent, total: Spent, steps: int, has_gpu: bool) -> str:
    gpu = f"{spent.gpu / steps / 1000:.3f}" if has_gpu else None
    share = spent.gpu / total.gpu if has_gpu else spent.cpu / total.cpu
    calls = f"{spent.calls / steps:.1f}".removesuffix(".0")
    return _row(name, f"{spent.cpu / steps / 1000:.3f}", f"{share:.1%}", calls, gpu)


def _row(name: str, milliseconds: str, share: str, calls: str, gpu: str | None) -> str:
    short = name if len(name) <= _WIDTH else f"{name[: _WIDTH - 3]}..."
    columns = [milliseconds, *([] if gpu is None else [gpu]), share, calls]
    return f"  {short:<{_WIDTH}}" + "".join(f"{column:>10}" for column in columns)


def _of_logging(module: VAEModule) -> str:
    """A short training logs more often than the real one."""
    every = module.trainer.log_every_n_steps  # type: ignore[attr-defined]
    if module.length is None or module.length.total_steps >= every:
        return ""
    return f"\n  An entry was logged every few steps here; in a longer training it is every {every} steps.\n"


def _what(module: VAEModule) -> str:
    trainer, size = module.trainer, module.datamodule.batch_size
    return f"{size * trainer.accumulate_grad_batches:,} images on {module.device}, {trainer.precision}"
