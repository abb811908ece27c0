"""model/: the weights and what is needed to build the model around them, and nothing that can be executed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from lehr import __version__
from lehr.config.build import build
from lehr.config.given import NOTHING, Given, stands_in
from lehr.errors import CheckpointError, ConfigError, in_a_line
from lehr.files import write_json
from lehr.models.autoencoder import Autoencoder
from lehr.models.wrapped import wrap
from lehr.objective.likelihood import Likelihood
from lehr.objective.prior import Prior
from lehr.reading import read_json
from lehr.run.given_model import handed_module, require_fit
from lehr.tensors import model_id, read_id, read_tensors, write_tensors

WEIGHTS = "model.safetensors"
_CONFIG = "config.json"


def build_model(
    config: Mapping[str, Any], image_shape: Iterable[int], trust: Iterable[str] = (), given: Given = NOTHING
) -> Autoencoder:
    """The configured model for images of (c, h, w), or a copy of the one given; what is no `Autoencoder` is wrapped.

    Raises:
        ConfigError: if the class may not be built, does not take its values, or is not for such images; if a model was
            given and is not now.
    """
    c, h, w = image_shape
    own = handed_module(given) if stands_in(config, "model") else None
    if own:
        module = own.build()
    else:
        module = build(config["model"], Autoencoder, key="model", trust=trust, image_shape=(c, h, w))
    try:
        return wrap(module, (c, h, w))
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error


def build_likelihood(config: Mapping[str, Any], trust: Iterable[str] = ()) -> Likelihood:
    return build(config["likelihood"], Likelihood, key="likelihood", trust=trust)


def build_prior(config: Mapping[str, Any], model: Autoencoder, trust: Iterable[str] = ()) -> Prior:
    """The configured prior over the latents of `model`."""
    shapes = {"latent_shape": model.latent_shape, "image_shape": model.image_shape}
    return build(config["prior"], Prior, key="prior", trust=trust, **shapes)


def write_model(
    folder: Path,
    weights: Mapping[str, Tensor],
    model: str,
    image_shape: Iterable[int],
    config: Mapping[str, Any],
) -> None:
    """Write `model.safetensors` and `config.json` into `folder`.

    Args:
        folder: `model/` of the run.
        weights: as of `weights_of`.
        model: their id.
        image_shape: (c, h, w).
        config: the resolved configuration of the run.
    """
    write_tensors(folder / WEIGHTS, weights, model)
    write_json(
        folder / _CONFIG,
        {
            "lehr": __version__,
            "image_shape": list(image_shape),
            "model": config["model"],
            "likelihood": config["likelihood"],
            "prior": config["prior"],
        },
    )


def weights_of(model: Autoencoder, likelihood: Likelihood, prior: Prior) -> dict[str, Tensor]:
    """All that a trained model consists of, by the names in `model.safetensors`; its id is the digest of it."""
    parts: dict[str, nn.Module] = {"model": model, "likelihood": likelihood, "prior": prior}
    return {f"{prefix}.{name}": t for prefix, module in parts.items() for name, t in module.state_dict().items()}


@dataclass(frozen=True)
class Described:
    """What `model/` says of the model in it, before any weight is read.

    Attributes:
        image_shape: (c, h, w).
        nodes: the configurations of model, likelihood and prior.
        model: the id that the weights were written with; None in files of earlier versions.
    """

    image_shape: tuple[int, ...]
    nodes: dict[str, dict[str, Any]]
    model: str | None


def describe_model(folder: Path) -> Described:
    """Read what `folder` says of its model, which takes no longer for a large one.

    Raises:
        CheckpointError: if something is missing, damaged, or cut off.
    """
    with _problems_told(folder):
        config = read_json(folder / _CONFIG)
        written = read_id(folder / WEIGHTS)
        image_shape = tuple(int(side) for side in config["image_shape"])
        nodes = {name: dict(config[name]) for name in ("model", "likelihood", "prior")}
        targets = [node["_target_"] for node in nodes.values()]
        if len(image_shape) != 3 or not all(isinstance(target, str) for target in targets):
            raise ValueError("it describes no model")
        return Described(image_shape, nodes, written)


def read_model(
    folder: Path, trust: Iterable[str] = (), given: Given = NOTHING
) -> tuple[Autoencoder, Likelihood, Prior, str]:
    """Model, likelihood and prior in `folder`, in evaluation mode, in the precision they were trained in; and their id.

    The id is that of the weights as they are, whether the file has one or, of an earlier version, has not.

    Raises:
        CheckpointError: if something is missing, damaged, or does not belong together.
        ConfigError: if it names classes that may not be built.
    """
    described = describe_model(folder)
    with _problems_told(folder):
        weights, written = read_tensors(folder / WEIGHTS)
        found = model_id(weights)
        if written not in (None, found):
            raise ValueError("the weights are not those that were written")
        if name := next((name for name, t in weights.items() if t.is_floating_point() and t.isnan().any()), None):
            raise ValueError(f"{name} has values that are no numbers")
    return *read_weights(described.nodes, described.image_shape, weights, trust, folder / WEIGHTS, given), found


def read_weights_alone(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights in `folder` by the names of `weights_of`, and the classes of model, likelihood and prior.

    Raises:
        CheckpointError: if something is missing or damaged.
    """
    described = describe_model(folder)
    with _problems_told(folder):
        weights, written = read_tensors(folder / WEIGHTS)
        if written not in (None, model_id(weights)):
            raise ValueError("the weights are not those that were written")
    return weights, {name: str(node["_target_"]) for name, node in described.nodes.items()}


@contextmanager
def _problems_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename or folder}: is missing; it is written when training ends") from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: is damaged ({' '.join(str(error).split())})") from error


def read_weights(
    config: Mapping[str, Any],
    image_shape: Iterable[int],
    weights: Mapping[str, Tensor],
    trust: Iterable[str],
    source: Path,
    given: Given = NOTHING,
) -> tuple[Autoencoder, Likelihood, Prior]:
    """Model, likelihood and prior of a configuration with these weights, to evaluate, in the weights' precision.

    Args:
        config: has the sections model, likelihood and prior.
        image_shape: (c, h, w).
        weights: by the names of `weights_of`; others are passed over.
        trust: packages of the user's own whose classes may be built.
        source: where the weights are from.
        given: a model of the same structure, where the configuration says that one was given.

    Raises:
        CheckpointError: if the weights are of another model, or the configuration is of none.
        ConfigError: if it names classes that may not be built.
    """
    require_fit(given, weights)
    try:
        model, likelihood = build_model(config, image_shape, trust, given), build_likelihood(config, trust)
        prior = build_prior(config, model, trust)
    except ConfigError as error:
        raise ConfigError(*(f"{source.parent}: {problem}" for problem in error.problems)) from error
    except Exception as error:  # of values that no configuration may have
        raise CheckpointError(f"{source.parent}: describes no model that can be built ({in_a_line(error)})") from error
    modules: dict[str, nn.Module] = {"model": model, "likelihood": likelihood, "prior": prior}
    for prefix, module in modules.items():
        state = {name.removeprefix(f"{prefix}."): t for name, t in weights.items() if name.startswith(f"{prefix}.")}
        if dtype := next((t.dtype for t in state.values() if t.is_floating_point()), None):
            module.to(dtype)
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{source}: does not belong to the configuration beside it ({reason})") from error
        module.eval().requires_grad_(False)
    return model, likelihood, prior
