"""`lehr COMMAND ...`: finds the command. Imports as little as can be, so that help and mistakes answer at once."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Sequence

from lehr import __version__
from lehr.cli.ending import told
from lehr.errors import Interrupted, wants_traceback
from lehr.signals import end_at_once, ending_in_order, put
from lehr.streams import lost, need_no_reader

STARTED = time.perf_counter()

# OpenMP's threads wait for each other by spinning, and where anything else wants a core the steps of a small model then
# take up to ten times as long; on an idle machine sleeping costs a few per cent. It is read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COMMANDS = {
    "train": ("lehr.cli.train", "train a VAE; the statistics of its latents and samples at the end"),
    "data": ("lehr.cli.data", "what a data set holds and what is odd in it, before anyone trains on it"),
    "evaluate": ("lehr.cli.evaluate", "how good a finished run is: likelihood, collapse, samples, representation"),
    "probe": ("lehr.cli.probe", "known faults of a finished run: spots, grids, borders, colours"),
    "groups": ("lehr.cli.groups", "whether some images are reconstructed worse than others: by class, factor, folder"),
    "compare": ("lehr.cli.compare", "autoencoders side by side on the same images: runs, diffusers folders, files"),
    "sample": ("lehr.cli.sample", "new images from a finished run"),
    "export": ("lehr.cli.export", "a finished run as diffusers, latent diffusion, ONNX Runtime or torch read it"),
    "import": ("lehr.cli.import_", "a published autoencoder as a run directory, without a training"),
    "results": ("lehr.cli.results", "what a sweep came to: means and standard deviations over seeds"),
    "report": ("lehr.cli.report", "what a run or a sweep came to, as a page to look at"),
    "completion": ("lehr.cli.completion", 'completion for bash or zsh: eval "$(lehr completion bash)"'),
}

_WORKING = {"train", "evaluate", "groups", "probe", "compare", "sample", "export", "import"}
"""Commands that leave files behind, of which what they print is no part."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 1 for a failed run, 2 for a mistake, 128 + n after signal n.

    Args:
        argv: command and arguments; None for those of this process, whose streams nobody need read then.
    """
    if argv is not None:
        return _run(list(argv))
    need_no_reader()
    code = _run(arguments := sys.argv[1:])
    put(end_at_once)  # what comes twice may come late
    if code == 0 and not set(arguments[:1]) & _WORKING and (problem := lost()):
        print(f"lehr: standard output is not whole: {problem.strerror}", file=sys.stderr)
        return 1
    return code


def _run(arguments: list[str]) -> int:
    command = arguments[0] if arguments else "--help"
    if command == "help" and arguments[1:]:
        return _run([arguments[1], "--help"])
    if command in ("-h", "--help", "help"):
        print(_help())
        return 0
    if command in ("-V", "--version") or "--version" in arguments:
        print(f"lehr {__version__}")
        return 0
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean lehr {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}"
        print(f"lehr: {command!r} is not a command; {hint}", file=sys.stderr)
        return 2
    try:
        os.getcwd()
    except FileNotFoundError:
        print(f"lehr {command}: the current directory is gone; change to another", file=sys.stderr)
        return 2
    try:
        with ending_in_order():
            return int(importlib.import_module(COMMANDS[command][0]).main(arguments[1:]))
    except (Exception, KeyboardInterrupt, Interrupted) as error:
        return told(error, command, wants_traceback("debug=true" in map(str.lower, arguments)))
    finally:
        if decoding := sys.modules.get("lehr.data.decode"):  # whatever has ended the command
            decoding.close_all()


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "lehr: variational autoencoders with an annealed KL term",
            "",
            "Usage: lehr COMMAND [key=value ...]",
            "",
            "Commands:",
            *lines,
            "",
            "lehr COMMAND --help says what a command can be told.",
        ]
    )
