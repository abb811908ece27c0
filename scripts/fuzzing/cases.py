"""Commands that nobody has tried: each a function of a seed and of its number.

A case begins with a command that is fine, of groups and values that go together, and then has something done to it.
`World` says which files there are beside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fuzzing.known import default, keys_of, keys_of_choice, options, sweep_keys, train_keys
from fuzzing.values import at_limits, good, hostile, misspelt, wrong
from lehr.config.exchange import ExportConfig, ImportConfig
from lehr.config.looking import ReportConfig, ResultsConfig
from lehr.config.registry import GROUPS
from lehr.config.schema import (
    CompareConfig,
    EvaluateConfig,
    GroupsConfig,
    ProbeConfig,
    SampleConfig,
    Section,
)

COMMANDS = {
    "train": 45, "train -m": 18, "sample": 11, "evaluate": 9, "results": 9, "completion": 8,
    "compare": 10, "import": 9, "export": 8, "probe": 9, "groups": 7, "report": 8,
}  # fmt: skip
"""And how often each is tried."""
TINY = (
    "trainer.max_steps=2", "kl.hold=0", "kl.warmup=0", "evaluate=none", "callbacks.samples.n=4",
    "callbacks.samples.steps=2",
)  # fmt: skip
_DATA = {
    "arrays": ("data.path=x.npy",),
    "images": ("data.path=pictures", "data.size=8", "data.workers=0", "data.channels=1"),
    "mnist": ("data.root=idx",),
    "fashion_mnist": ("data.root=idx",),
}
_FLAGS = (
    "--cfg", "job", "--resolve", "--info", "all", "-m", "--help", "--hydra-help", "--config-name", "--config-dir",
    "-c", "-p", "--package", "--nothing", "-x", "--", "-", "--shell-completion", "--cfg=all", "--run", "--multirun",
    "--version",
)  # fmt: skip
_TARGETS = (
    "os.system", "subprocess.Popen", "builtins.eval", "lehr.cli.main.main", "lehr.files.write_text",
    "lehr.run.claim.Claim", "torch.nn.Linear", "torch.hub.load", "lehr.objective.Bernoulli", "torch.optim.SGD",
    "lehr", "torch", ".", "", "lehr.", ".lehr", "lehr..x", "lehr.objective", "lehr.models.MLP",
    "lehr.data.ImageDataModule", "lightning.pytorch.Trainer", "lightning.pytorch.callbacks.Timer", "1", "null",
    "[a]", "a b", "lehr.__main__.main", "lehr.objective.__class__", "lehr.sweeps.pool.Pool",
    "lehr.training.worker.main", "ünï.x", "torch.optim.LBFGS", "lightning.pytorch.loggers.CSVLogger",
    "torch.distributed.launch.main", "hydra.utils.instantiate", "yaml.load",
)  # fmt: skip
_SLOW = ("compile", "evaluate", "level", "samplers", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""Keys for which good values take seconds, or other processes: they are only told what is refused."""


@dataclass(frozen=True)
class Case:
    """A command.

    Attributes:
        number: with the seed, what it is a function of.
        command: one of `COMMANDS`.
        about: what was done to it, a name of `_ABOUT`.
        argv: as `lehr.cli.main.main` takes it.
        touched: words of which one has to stand in a message: keys, groups, files, flags.
        places: where it may write, as it was typed.
    """

    number: int
    command: str
    about: str
    argv: tuple[str, ...]
    touched: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass
class _Draft:
    """A case that is being made. `keys` are those that the command knows, with their types."""

    rng: random.Random
    command: str
    words: list[str]
    keys: Mapping[str, Any]
    groups: tuple[str, ...] = ()
    touched: list[str] = field(default_factory=list)

    def say(self, key: str, value: str, prefix: str = "") -> None:
        """Add `key=value`; of the same key it is the last word that counts."""
        self.words.append(f"{prefix}{key}={value}")
        self.touched.append(key)

    def some_key(self) -> tuple[str, Any]:
        key = self.rng.choice(list(self.keys))
        return key, self.keys[key]


def make(seed: int, number: int) -> Case:
    """The case of this number."""
    rng = random.Random(f"{seed}:{number}")
    command = rng.choices(list(COMMANDS), weights=list(COMMANDS.values()))[0]
    about = rng.choices(list(_ABOUT), [2 if name in ("fine", "limits") else 1 for name in _ABOUT])[0]
    draft = _STARTS[command.partition(" ")[0]](rng, command)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _ABOUT[about](draft)
    words = draft.words
    if command == "completion":  # what the shell hands over is a line, typed as far as its last word
        line = " ".join(("lehr", *words))
        words = ["query", line[: rng.randint(0, len(line))] if rng.random() < 0.5 else line]
    argv = (*command.split(), *words)
    return Case(number, command, about, argv, tuple(draft.touched), _places(words))


def _train(rng: random.Random, command: str) -> _Draft:
    choices = {group: rng.choice(options(group)) for group in GROUPS if rng.random() < 0.3}
    words = [f"{group}={choice}" for group, choice in choices.items()]
    chosen = {group: choices.get(group) or default(group) for group in GROUPS}
    words += [word for word in TINY if not word.startswith("kl.") or chosen["kl"] not in ("control", "geco")]
    words += _DATA.get(chosen["data"], ())
    if chosen["data"] in ("images", "fashion_mnist", "mnist") or chosen["model"] == "conv":
        words += ["model.latent_dim=2"]
    if chosen["likelihood"] not in ("bernoulli", "continuous_bernoulli"):
        words += ["data.binarize=none"]
    if chosen["prior"] in ("mixture", "vamp"):
        words += ["prior.components=2"]
    keys = train_keys(chosen)
    if command == "train -m":
        keys = {**keys, **sweep_keys()}
        swept = rng.choice(
            ("seed=0,1", "kl=constant", "optimizer.lr=0.1,0.2", "seed=range(1,3)", "model.latent_dim=2,3", "+x=1,2")
        )
        words += [swept, "hydra.sweep.dir=grid"]
        if rng.random() < 0.2:
            words += ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "kl.weight=interval(0.1,1)"]
        return _Draft(rng, command, words, keys, (*GROUPS, "hydra/launcher", "hydra/sweeper", "sweep", "experiment"))
    if rng.random() < 0.15:
        words = [f"resume={rng.choice(('done', 'interrupted', 'nowhere', 'sweep', 'empty'))}", "trainer.max_steps=4"]
    else:
        words += [
            f"dir={rng.choice(('new', 'new', 'new', 'new', 'deep/new', 'done', 'empty', 'x.npy', 'interrupted'))}"
        ]
    return _Draft(rng, command, words, keys, (*GROUPS, "experiment", "sweep", "hydra/launcher"))


def _of_a_run(schema: type[Section], *cheap: str) -> Callable[[random.Random, str], _Draft]:
    def start(rng: random.Random, command: str) -> _Draft:
        run = rng.choice(("done",) * 4 + ("published",) * 2 + ("interrupted", "nowhere", "empty", "sweep", "x.npy"))
        return _Draft(rng, command, [f"run={run}", *cheap], keys_of(schema))

    return start


def _with_images(schema: type[Section], places: tuple[int, ...], *cheap: str) -> Callable[[random.Random, str], _Draft]:
    """Of a command that takes as many autoencoders as one of `places`, and images by name, or none."""

    def start(rng: random.Random, command: str) -> _Draft:
        found = ("vae",) * 6 + ("done",) * 4 + ("published", "vae/config.json", "nowhere", "empty", "x.npy", "pictures")
        words = [rng.choice(found) for _ in range(rng.choice(places))] + list(cheap)
        name = rng.choice((None, *_DATA))
        words += [f"data={name}", *_DATA[name]] if name else []
        keys = {key: annotation for key, annotation in keys_of(schema).items() if key != "data"}
        keys |= keys_of_choice("data", name) if name else {}
        return _Draft(rng, command, words, keys, ("data",))

    return start


def _of_a_sweep(schema: type[Section]) -> Callable[[random.Random, str], _Draft]:
    def start(rng: random.Random, command: str) -> _Draft:
        sweep = rng.choice(("sweep",) * 5 + ("done", "empty", "nowhere", "x.npy"))
        # what watches a sweep waits for runs that nobody trains here
        keys = {key: annotation for key, annotation in keys_of(schema).items() if key != "watch"}
        return _Draft(rng, command, [sweep], keys)

    return start


def _completion(rng: random.Random, command: str) -> _Draft:
    other = rng.choice([name for name in COMMANDS if name != "completion"])
    draft = _STARTS[other.partition(" ")[0]](rng, other)
    draft.words = [*other.split(), *draft.words[: rng.randint(0, 4)]]
    return draft


_STARTS = {
    "train": _train,
    "sample": _of_a_run(SampleConfig, "n=4", "steps=2"),
    "evaluate": _of_a_run(EvaluateConfig, "level=quick", "examples=20", "iwae_samples=2", "features=pca"),
    "groups": _of_a_run(GroupsConfig, "examples=40"),
    "probe": _of_a_run(ProbeConfig, "examples=8"),
    "compare": _with_images(CompareConfig, (2, 2, 2, 3, 1), "examples=4", "pictures=2"),
    "import": _with_images(ImportConfig, (1, 1, 1, 0, 2), "dir=new"),
    "export": _of_a_run(ExportConfig, "out=new"),
    "results": _of_a_sweep(ResultsConfig),
    "report": _of_a_sweep(ReportConfig),
    "completion": _completion,
}


def _fine(draft: _Draft) -> None:
    for _ in range(2):
        key, annotation = draft.some_key()
        if key not in _SLOW and (value := good(draft.rng, annotation)) is not None:
            draft.say(key, value)


def _limits(draft: _Draft) -> None:
    key, annotation = draft.some_key()
    draft.say(key, at_limits(draft.rng, annotation))


def _types(draft: _Draft) -> None:
    key, annotation = draft.some_key()
    draft.say(key, "false" if key == "compile" else wrong(draft.rng, annotation))


def _unknown(draft: _Draft) -> None:
    rng, (key, annotation) = draft.rng, draft.some_key()
    section, _, word = key.rpartition(".")
    value = good(rng, annotation) or "1"
    name = rng.choice(
        (
            misspelt(rng, key),
            word,
            f"{key}.more",
            f"{section}.{misspelt(rng, word)}",
            key.replace(".", "/"),
            section or key,
            key.upper(),
        )
    )
    draft.say(name or key, value, rng.choice(("", "", "", "+", "++", "~")))


def _choices(draft: _Draft) -> None:
    rng = draft.rng
    group = rng.choice(draft.groups or ("model",))
    choice = rng.choice(
        (
            *options(group),
            misspelt(rng, rng.choice(options(group) or ["none"])),
            "null",
            "",
            "[]",
            "_common",
            "{}",
            "1",
        )
    )
    form = rng.choice((group, group, group, f"+{group}", f"~{group}", f"++{group}", f"{group}@x", f"{group}/x"))
    draft.words.append(rng.choice((f"{form}={choice}", f"{form}={choice}", form)))
    draft.touched.append(group)


def _strings(draft: _Draft) -> None:
    rng, (key, _) = draft.rng, draft.some_key()
    paths = [
        name
        for name in draft.keys
        if name.rpartition(".")[2] in ("dir", "path", "test_path", "out", "run", "root", "resume")
    ]
    if paths and rng.random() < 0.4:
        key = rng.choice(paths)
    text = hostile(rng)
    if rng.random() < 0.4:
        text = "'" + text.replace("'", "\\'") + "'"
    if key == "compile":
        key = "seed"
    draft.say(key, text)


def _syntax(draft: _Draft) -> None:
    rng, text = draft.rng, hostile(draft.rng)
    key, _ = draft.some_key()
    draft.words.insert(
        rng.randint(0, len(draft.words)),
        rng.choice(
            (
                text,
                f"{text}=1",
                f"+{text}=1",
                f"~{text}",
                f"{key}{text}=1",
                f"{key}.{text}=1",
                f"{key}@{text}=1",
                f"{text}.{key}=1",
            )
        ),
    )
    draft.touched += [key, text]


def _flags(draft: _Draft) -> None:
    flag = draft.rng.choice(_FLAGS)
    draft.words.insert(draft.rng.randint(0, len(draft.words)), flag)
    draft.touched += [flag, "usage"]


def _targets(draft: _Draft) -> None:
    rng = draft.rng
    section = rng.choice(draft.groups or ("model",)).partition("/")[0]
    name = rng.choice(_TARGETS)
    draft.say(f"{section}._target_", name, rng.choice(("", "", "++")))
    if rng.random() < 0.2:
        draft.say("trust", rng.choice(("[os]", "[nowhere]", "[lehr]", "[]", "[1]", "os", "[subprocess]", "['']")))


_ABOUT: dict[str, Callable[[_Draft], None]] = {
    "fine": _fine,
    "limits": _limits,
    "types": _types,
    "unknown": _unknown,
    "choices": _choices,
    "strings": _strings,
    "syntax": _syntax,
    "flags": _flags,
    "targets": _targets,
}


def _places(words: list[str]) -> tuple[str, ...]:
    """Where these words say that something is to be written."""
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key.lstrip("+") in (
            "dir",
            "resume",
            "run",
            "out",
            "hydra.sweep.dir",
            "hydra.run.dir",
            "data.root",
        ):
            if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1].replace("\\'", "'")
            found.append(value)
    return tuple(found)
