"""What makes a configuration impossible although each of its values is allowed: found before any data are read.

torch is imported only where the answer depends on the devices of this machine.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lehr.config.build import signature
from lehr.config.registry import GROUPS, components
from lehr.config.signature import Signature
from lehr.data.tar import shards_problem
from lehr.errors import ConfigError
from lehr.limits import IsPattern, is_marked
from lehr.needs import TWO_EXAMPLES, WHOLE_BATCH, samples_problem
from lehr.objective.annealing import Annealing
from lehr.objective.bits import levels_problem
from lehr.objective.terms.timing import late_problem
from lehr.paths import expanded, may_be_on_hub
from lehr.training.launched import processes_from_outside, rank_from_outside

Config = Mapping[str, Any]

_CPU_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")


def combination_problems(config: Config) -> list[str]:
    """One line for each combination of values that cannot work. `config` has passed the schema."""
    try:
        signatures = {
            group: signature(group, config[group]["_target_"], config["trust"])
            for group in ("model", "likelihood", "kl", "prior", "objective")
        }
        terms = {
            f"terms.{name}": signature("terms", node["_target_"], config["trust"])
            for name, node in (config.get("terms") or {}).items()
            if node
        }
        data = signature("data", config["data"]["_target_"], config["trust"])
    except ConfigError as error:
        return list(error.problems)
    of_components = [*_length(config, signatures), *_levels(config, signatures), *_needs(config, signatures, terms)]
    if terms:
        of_components += [*_samples(config, signatures), *_files(config, terms), *_starts(config, terms)]
    return [
        *of_components, *_average(config), *_exported(config), *_packages(config),
        *_paths(config, data), *_pretrained(config), *_devices(config),
    ]  # fmt: skip


def _length(config: Config, signatures: Mapping[str, Signature]) -> list[str]:
    trainer = config["trainer"]
    epochs, steps = trainer["max_epochs"], trainer["max_steps"]
    if epochs is None and steps is None:
        return ["trainer.max_epochs=null, trainer.max_steps=null: give one of them, or training never ends"]
    values = signatures["kl"].complete(config["kl"])
    # a subclass that hands them on itself need not have them all; it is checked once it is built
    known: dict[str, Any] = {
        name: v for name in signatures["kl"].annealed if isinstance(v := values.get(name), int | float | str)
    }
    annealing = Annealing(0.0, **known)
    length = _lengths(trainer).get(annealing.unit)
    problem = annealing.problem(length) if length else None
    return [problem] if problem else []


def _lengths(trainer: Config) -> dict[str, float | None]:
    """How long the training is by each unit, where that is known before the data are read."""
    epochs, steps = trainer["max_epochs"], trainer["max_steps"]
    # with both limits, or with epochs against steps, the data decide: that is checked once they are read
    return {"fraction": 1.0, "epoch": epochs if steps is None else None, "step": steps if epochs is None else None}


def _starts(config: Config, terms: Mapping[str, Signature]) -> list[str]:
    """Terms of the loss that would begin after the training has ended."""
    problems = []
    for key, found in terms.items():
        name = key.partition(".")[2]
        values = found.complete(config["terms"][name])
        start, warmup, unit = (values.get(value) for value in ("start", "warmup", "unit"))
        length = _lengths(config["trainer"]).get(str(unit))
        if isinstance(start, int | float) and isinstance(warmup, int | float) and length:
            problems.append(late_problem(name, start, warmup, str(unit), length))
    return [problem for problem in problems if problem]


def _levels(config: Config, signatures: Mapping[str, Signature]) -> list[str]:
    """Whether pixels that are made binary have a likelihood; of all others the data tell."""
    if config["data"].get("binarize", "none") == "none":
        return []
    problem = levels_problem(signatures["likelihood"].complete(config["likelihood"]).get("levels"), 2)
    return [problem] if problem else []


def _samples(config: Config, signatures: Mapping[str, Signature]) -> list[str]:
    samples = signatures["objective"].complete(config["objective"]).get("samples", 1)
    return [samples_problem(samples)] if isinstance(samples, int) and samples != 1 else []


def _files(config: Config, terms: Mapping[str, Signature]) -> list[str]:
    """Published weights that are not here, or others, and runs that are none."""
    nodes = {f"terms.{name}": node for name, node in config["terms"].items()}
    return [
        problem
        for key, found in terms.items()
        for file in found.files
        if (problem := file.problem(found.complete(nodes[key]), key))
    ] + [
        f"{key}.run={node['run']}: there is no finished run, with its model"
        for key, node in nodes.items()
        if key in terms and "load_model" in terms[key].parameters and not Path(node["run"], "model").is_dir()
    ]


def _needs(config: Config, signatures: Mapping[str, Signature], terms: Mapping[str, Signature]) -> list[str]:
    """What components need that no other one provides."""
    provided = set()
    for group, found in signatures.items():
        provides = GROUPS[group].provides if found.provides is None else found.provides
        values = found.complete(config[group])
        provided |= {need.name for need in provides if need.applies(values)}
    if _processes(config["trainer"]) == 1:
        provided.add(WHOLE_BATCH.name)
    if config["data"].get("batch_size") != 1:  # a class of one's own has whatever it has
        provided.add(TWO_EXAMPLES.name)
    nodes = {**config, **{f"terms.{name}": node for name, node in (config.get("terms") or {}).items()}}
    return [
        f"{key}._target_={nodes[key]['_target_']}: {need.problem}"
        for key, found in {**signatures, **terms}.items()
        for need in found.needs
        if need.name not in provided and need.applies(found.complete(nodes[key]))
    ]


def _average(config: Config) -> list[str]:
    ema = config.get("ema") or {}
    if ema.get("decay") is None or ema.get("half_life") is None:
        return []
    return [f"ema.decay={ema['decay']}, ema.half_life={ema['half_life']}: each says how long it remembers; give one"]


def _exported(config: Config) -> list[str]:
    weights, ema = (config.get("export") or {}).get("weights"), config.get("ema") or {}
    if weights == "ema" and ema.get("decay") is None and ema.get("half_life") is None:
        return ["export.weights=ema: there is no average of the weights; say ema.half_life or ema.decay"]
    if weights == "best" and not config["callbacks"].get("checkpoints"):
        return ["export.weights=best: callbacks.checkpoints=null keeps no best checkpoint"]
    return []


def _packages(config: Config) -> list[str]:
    """Components whose packages are not installed."""
    problems = []
    for group, key, node in components(config):
        extra, packages = GROUPS[group].extras.get(node.get("_target_", ""), ("", ()))
        if missing := [name for name in packages if not _is_installed(name)]:
            problems.append(f"{key}: needs {' and '.join(missing)}, not installed here; pip install 'lehr[{extra}]'")
    return problems


def _is_installed(package: str) -> bool:
    """Whether there is such a package; a mere folder of that name, as some leave where they were started, is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def _processes(trainer: Config) -> int:
    """Of which a run consists, as far as that was said; 0 where it finds the devices itself."""
    return int(trainer["devices"] * trainer["num_nodes"]) if isinstance(trainer["devices"], int) else 0


def _paths(config: Config, data: Signature) -> list[str]:
    problems = []
    for name in ("path", "test_path", "root"):
        if not (isinstance(text := config["data"].get(name), str) and text):
            continue
        if name in data.parameters and is_marked(data.parameters[name].annotation, IsPattern):
            problem = shards_problem(text)
            problems += [f"data.{name}: {problem}"] if problem else []
            continue
        try:
            path = expanded(text)
        except ConfigError as error:
            problems += [f"data.{name}={problem}" for problem in error.problems]
            continue
        if name != "root" and not path.exists():  # what is not in there is downloaded
            problems.append(f"data.{name}={text}: there is no such file or folder")
    return problems


def _pretrained(config: Config) -> list[str]:
    """Weights to begin with that are not there; what a run goes on with has them already."""
    name = config["model"].get("pretrained")
    if not isinstance(name, str) or config.get("resume") or may_be_on_hub(name):
        return []
    try:
        there = expanded(name).exists()
    except ConfigError as error:
        return [f"model.pretrained={problem}" for problem in error.problems]
    return [] if there else [f"model.pretrained={name}: there is no such file or folder"]


def _devices(config: Config) -> list[str]:
    trainer = config["trainer"]
    precision, devices, accelerator = trainer["precision"], trainer["devices"], trainer["accelerator"]
    if trainer["num_nodes"] > 1 and rank_from_outside(config) is None:
        started = processes_from_outside()
        how = f"but {started} processes were started" if started else "torchrun or srun has to start it"
        return [
            f"trainer.num_nodes={trainer['num_nodes']}, trainer.devices={devices}: {how}, a process for each device of "
            "each machine"
        ]
    if precision in _CPU_PRECISIONS and devices == 1 and accelerator in ("auto", "cpu"):
        return []
    import torch

    gpus = torch.cuda.device_count()
    on_gpu = accelerator == "cuda" or (accelerator == "auto" and gpus > 0)
    problems = []
    if accelerator == "cuda" and not gpus:
        problems.append("trainer.accelerator=cuda: this machine has no CUDA GPU; use auto or cpu")
    available = gpus if on_gpu else os.cpu_count() or 1
    if isinstance(devices, int) and devices > available > 0:
        kind = "GPUs" if on_gpu else "CPU cores"
        problems.append(f"trainer.devices={devices}: this machine has {available} {kind}")
    elif (count := _processes(trainer)) > (batch := config["data"].get("batch_size") or count):
        problems.append(f"data.batch_size={batch}: is shared by all devices, and there are {count}; make it larger")
    if precision in ("16-mixed", "16-true") and not on_gpu:
        problems.append(f"trainer.precision={precision}: needs a GPU; a CPU has {', '.join(_CPU_PRECISIONS)}")
    if on_gpu and precision.startswith("bf16") and gpus and not torch.cuda.is_bf16_supported():
        problems.append(f"trainer.precision={precision}: this GPU has no bfloat16; use 16-mixed or 32-true")
    return problems
