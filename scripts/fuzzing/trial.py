"""A case is tried in this process, and judged: what was printed, what it wrote, and how long it took."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from fuzzing.cases import Case
from fuzzing.world import Watch, World
from lehr.cli.main import main

MOST_LINES, LONGEST_LINE = 6, 1_500
ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed with a line"
FAULTS = (
    "traceback",
    "unforeseen",
    "too long",
    "unnamed key",
    "hang",
    "wrote outside",
    "not finite",
    "without a word",
    "started a program",
)


_UNFORESEEN = re.compile(r"^(?!.*(memory|allocate)).*\(debug=true shows where\)", re.MULTILINE)
"""What is nobody's mistake but lehr's own, although it is told in a line; unless there was too little memory."""


class Hang(BaseException):
    """A case has taken too long."""


@dataclass
class Outcome:
    """What came of a case. `fault` is one of `FAULTS`, with `why`."""

    code: int | None
    out: str
    err: str
    seconds: float
    fault: str | None = None
    why: str = ""
    raised: str = ""
    written: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.fault or {0: ACCEPTED, 2: REFUSED}.get(self.code if self.code is not None else 1, FAILED)


def attempt(case: Case, world: World, limit: float = 60.0) -> Outcome:
    """Try the case in a fresh folder of `world`, for `limit` seconds at most."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True) for errors in ("strict", "backslashreplace")
    )
    code, raised, hung, started = None, "", False, time.perf_counter()
    with world.copied(case.argv) as (root, here), Watch() as watch:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                with _alarm(limit):
                    code = main(list(case.argv))
            except Hang:
                hung = True
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            except BaseException:
                raised = traceback.format_exc()
        seconds = time.perf_counter() - started
        printed = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]  # type: ignore[attr-defined]
        outcome = Outcome(code, *printed, seconds, raised=raised)
        outcome.written = _outside(watch.written, case.places, root, here)
        outcome.fault, outcome.why = ("hang", f"{limit:g} s") if hung else _judged(case, outcome, here, watch.started)
    return outcome


def shrunk(case: Case, fault: str, world: World) -> Case:
    """The case with as few words as have the same fault."""
    words = list(case.argv)
    i = len(words) - 1
    while i >= 1:
        fewer = replace(case, argv=(*words[:i], *words[i + 1 :]))
        if attempt(fewer, world, limit=20).fault == fault:
            words.pop(i)
        i -= 1
    return replace(case, argv=tuple(words))


def _judged(case: Case, found: Outcome, here: Path, started: list[str]) -> tuple[str | None, str]:
    """The fault of an outcome and what it is seen by; or None."""
    if found.raised:
        return "traceback", found.raised.splitlines()[-1]
    if "Traceback (most recent call last)" in found.err + found.out:
        return (None, "") if any("debug" in word for word in case.argv) else ("traceback", found.err.splitlines()[-1])
    if unforeseen := _UNFORESEEN.search(found.err):
        return "unforeseen", unforeseen[0]
    if found.written:
        return "wrote outside", found.written[0]
    if started := [program for program in started if "nvidia-smi" not in program]:
        return "started a program", started[0]
    if found.code == 0:
        return _not_finite(here)
    lines = [line for line in re.split(r"[\n\r]", found.err) if line.strip() and not _is_progress(line)]
    if not lines:
        return "without a word", f"exit code {found.code}"
    if found.code == 1 and case.command == "train -m":
        return None, ""  # the table and log.txt say which run has failed
    if len(lines) > MOST_LINES or max(map(len, lines)) > LONGEST_LINE:
        return "too long", f"{len(lines)} lines, the longest of {max(map(len, lines)):,} characters"
    if strange := [line for line in lines if not line.startswith(("lehr ", "note: ", "what is done is kept"))]:
        return "too long", f"a line of its own: {strange[0][:200]!r}"
    if found.code == 2 and not _is_named(case, found.err):
        return "unnamed key", lines[0][:300]
    return None, ""


def _is_named(case: Case, text: str) -> bool:
    words = {
        word for touched in case.touched for word in (touched, touched.rpartition(".")[2], touched.partition(".")[0])
    }
    files = {part.lstrip("+~") for word in case.argv[1:] for part in word.partition("=") if part != "="}
    shown = {repr(word)[1:-1] for word in (*words, *files)}
    return any(word and word[:40] in text for word in (*words, *files, *shown))


def _is_progress(line: str) -> bool:
    return bool(re.match(r"(training|validating|sweep in|search in|q\(z\)|.*\d+%)", line.strip()))


def _not_finite(here: Path) -> tuple[str | None, str]:
    """A run that has ended well, and has a number that is none."""
    for path in here.parent.parent.rglob("metrics.json"):
        if path.stat().st_mtime < time.time() - 300 or "done" in path.parts[-2]:
            continue
        metrics = json.loads(path.read_text())
        bad = [name for name, value in metrics.items() if value is None or not math.isfinite(value)]
        if bad or not metrics:
            return "not finite", f"{path.relative_to(here.parent.parent)}: {', '.join(bad) or 'nothing'}"
    return None, ""


def _outside(written: list[str], places: tuple[str, ...], root: Path, here: Path) -> list[str]:
    """What was written elsewhere than in the places that a command named, or by default in `outputs`."""
    own = [str(here / "outputs"), str(root / "tmp")]
    for place in places:
        if "${" in place:
            own.append(str(root))
        elif place and "\0" not in place:
            expanded = str(root / "home") + place[1:] if place == "~" or place.startswith("~/") else place
            with suppress(UnicodeEncodeError, OSError):  # a name that no file can have
                own.append(os.path.realpath(here / expanded))
    # a folder above a place is made with it
    return [
        path
        for path in dict.fromkeys(written)
        if not any(
            path == o or path.startswith(f"{o}/") or o.startswith(f"{path}/") or Path(path).stem == Path(o).stem
            for o in own
        )
    ]


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def shown_command(case: Case) -> str:
    """The command as a shell takes it, if it takes it at all."""
    return " ".join(("lehr", *(_quoted(word) for word in case.argv)))


def _quoted(word: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./\[\]~-]+", word, re.ASCII):
        return word
    if word.isprintable() and "'" not in word:
        return f"'{word}'"
    return (
        "$" + repr(word)
        if '"' not in repr(word)[:1]
        else "$'" + word.encode("unicode_escape").decode().replace("'", "\\'") + "'"
    )
