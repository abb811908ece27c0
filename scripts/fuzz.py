"""Tries commands that nobody has tried, made out of the schema: `python scripts/fuzz.py --n 1000 --seed 0`.

Each is refused in few lines that name what is wrong, or trains two steps to a finite loss, or says in a line why not;
none prints a traceback, hangs, or writes where it was not told to. `--only K` shows one of them.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path

from fuzzing.cases import COMMANDS, Case, make
from fuzzing.trial import ACCEPTED, FAILED, FAULTS, REFUSED, Outcome, attempt, shown_command, shrunk
from fuzzing.world import World, in_this_process, two_steps

_MEMORY = 12 * 2**30  # of addresses, most of which torch never fills


def run() -> int:
    """The exit code: 1 if a case has a fault."""
    arguments = _arguments()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    numbers = range(arguments.first, arguments.n) if arguments.only is None else [arguments.only]
    found: dict[int, tuple[Case, Outcome]] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lehr-fuzz-") as folder, ExitStack() as stack:
        for patch in (two_steps, in_this_process):
            stack.enter_context(patch())
        world = World(Path(folder))
        gc.collect()
        gc.freeze()  # what is imported by now stays, and need not be looked at again and again
        for number in numbers:
            case = make(arguments.seed, number)
            outcome = attempt(case, world, arguments.limit)
            found[number] = case, outcome
            if arguments.only is not None:
                _show(case, outcome)
            elif arguments.list:
                print(
                    f"{number}: {outcome.kind}: {shown_command(case)[:300]} | {outcome.err.strip()[-300:]!r}",
                    flush=True,
                )
            if outcome.fault and arguments.only is None:
                _tell(case, outcome, arguments, world)
    if arguments.only is None:
        print(_table(list(found.values())))
        print(f"\nseed {arguments.seed}, {len(found)} cases in {time.perf_counter() - started:.0f} s")
    return int(any(outcome.fault for _, outcome in found.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="how many cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case, to go on")
    parser.add_argument("--only", type=int, help="show the case of this number")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that a case may take")
    parser.add_argument("--list", action="store_true", help="a line for each case")
    parser.add_argument("--no-shrink", action="store_true", help="tell of a fault without looking for fewer words")
    return parser.parse_args()


def _tell(case: Case, outcome: Outcome, arguments: argparse.Namespace, world: World) -> None:
    assert outcome.fault
    short = case if arguments.no_shrink or outcome.fault == "hang" else shrunk(case, outcome.fault, world)
    print(f"{outcome.fault}: {outcome.why[:400]}\n  {shown_command(short)[:1000]}", flush=True)
    print(f"  python scripts/fuzz.py --seed {arguments.seed} --only {case.number}", flush=True)


def _show(case: Case, outcome: Outcome) -> None:
    print(shown_command(case))
    print(f"{case.command}, {case.about}: {outcome.kind} {outcome.why}")
    print(f"exit code {outcome.code} after {outcome.seconds:.1f} s")
    for name in ("out", "err", "raised"):
        if text := getattr(outcome, name):
            print(f"--- {name}\n{text}")
    for path in outcome.written:
        print(f"wrote {path}")


def _table(found: list[tuple[Case, Outcome]]) -> str:
    """Outcomes by command and by what was done to it; which groups, choices and keys were touched."""
    kinds = (ACCEPTED, REFUSED, FAILED, *FAULTS)
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for case, outcome in found:
        for row in (f"1 {case.command}", f"2 {case.about}", "3 all"):
            rows[row][outcome.kind] += 1
    shown = [kind for kind in kinds if rows["3 all"][kind] or kind in FAULTS]
    order = {name: i for i, name in enumerate(COMMANDS)}
    names = sorted(rows, key=lambda row: (row[0], order.get(row[2:], 0), row))
    table = [[name[2:].ljust(12), *(f"{rows[name][kind]:>{len(kind)}}" for kind in shown)] for name in names]
    lines = ["", "  ".join((" " * 12, *shown)), *("  ".join(row) for row in table)]
    keys = {key for case, _ in found for key in case.touched if "." in key}
    choices = {
        word
        for case, _ in found
        for word in case.argv
        if word.count("=") == 1 and "." not in word and word[:1].isalpha()
    }
    lines.append(f"\n{len(keys)} dotted keys and {len(choices)} choices and values of top-level keys were tried")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run())
