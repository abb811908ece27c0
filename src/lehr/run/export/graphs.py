"""Encoder and decoder as graphs: of torch.export, and ONNX, which is made of these.

Sides and the number of images are free where the model can; nothing is drawn in them: the encoder gives the mean of
q(z|x) and its standard deviation, the decoder E[x|z], pixels in [0, 1]. What was written is read again and compared.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lehr import __version__
from lehr.errors import CheckpointError, ConfigError, in_a_line
from lehr.files import write_json
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.base import FirstStage
from lehr.objective.likelihood import Likelihood
from lehr.run.export.card import without_places
from lehr.run.load import Run
from lehr.run.published import CONFIG

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_TOLERANCE = 1e-4  # of what a graph gives, beside the largest number that it gives; float32 in another order
_OPSET = 18
_CELLS = ((4, 6), (3, 5))  # heights and widths in latents: that are traced with, and that are compared with besides

Compute = Callable[[Tensor], Sequence[Tensor]]


class _Encode(nn.Module):
    """Images (b, c, h, w) in [0, 1] to the mean of q(z|x) and, where it has a density, its standard deviation."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        whole = self.model.encode_whole if isinstance(self.model, FirstStage) else self.model.encode
        posterior = whole(image)
        return (posterior.mean, posterior.var.sqrt()) if posterior.has_density else (posterior.mean,)


class _Decode(nn.Module):
    """Latents (b, *latent) to E[x|z], (b, c, h, w)."""

    def __init__(self, model: Autoencoder, likelihood: Likelihood) -> None:
        super().__init__()
        self.model, self.likelihood = model, likelihood

    def forward(self, latent: Tensor) -> Tensor:
        whole = self.model.decode_whole if isinstance(self.model, FirstStage) else self.model.decode
        return self.likelihood.mean(whole(latent))


class _Upsample(nn.Module):
    """diffusers' Upsample2D, which asks how many elements it is given; no graph of free sizes can."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))


@dataclass(frozen=True)
class Part:
    """One of the two networks.

    Attributes:
        name: "encoder" or "decoder".
        network: as the model has it, in float32, on the CPU.
        program: as a graph.
        inputs: others than it was made with, to compare with.
        outputs: what it gives, by name.
    """

    name: str
    network: nn.Module
    program: ExportedProgram
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]

    @property
    def input(self) -> str:
        return "image" if self.name == "encoder" else "latent"

    @torch.no_grad()
    def compare(self, compute: Compute, what: str) -> None:
        """Check that something computes what the network does, also for other sizes and another number of images.

        Raises:
            CheckpointError: if it does not.
        """
        for given in self.inputs:
            wanted = self.network(given)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            for name, one, other in zip(self.outputs, wanted, compute(given), strict=True):
                error = float((one - other).abs().max()) if one.shape == other.shape else float("inf")
                if not error <= _TOLERANCE * max(1.0, float(one.abs().max())):
                    raise CheckpointError(
                        f"{what}: {name} of {tuple(given.shape)} differs from that of the model by {error:.2g}; "
                        "nothing was written"
                    )


def write_torch_export(run: Run, folder: Path, name: str) -> None:
    """Write encoder.pt2 and decoder.pt2, and config.json.

    Raises:
        ConfigError: if torch can make no graph of the model.
        CheckpointError: if the files do not compute what the model does.
    """
    with _quietly():
        for part in _parts(run, "torch_export"):
            file = folder / f"{part.name}.pt2"
            torch.export.save(part.program, file)
            module = torch.export.load(file).module()
            part.compare(lambda x, module=module: _tuple(module(x)), file.name)  # type: ignore[misc]
    _describe(run, folder)


def write_onnx(run: Run, folder: Path, name: str) -> None:
    """Write encoder.onnx and decoder.onnx, and config.json.

    Raises:
        ConfigError: if the packages for it are not installed, or there is no such graph of the model.
        CheckpointError: if the files do not compute what the model does.
    """
    if missing := [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]:
        raise ConfigError(f"format=onnx: {', '.join(missing)} not installed; pip install 'lehr[onnx]'")
    with _quietly():
        import onnxruntime

        for part in _parts(run, "onnx"):
            file = folder / f"{part.name}.onnx"
            try:
                program = torch.onnx.export(
                    part.program,
                    input_names=[part.input],
                    output_names=list(part.outputs),
                    opset_version=_OPSET,
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
                assert program is not None
                program.save(file, external_data=False)
                session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            except Exception as error:  # what any of the three packages raises
                raise ConfigError(f"format=onnx: the {part.name} cannot be written so ({in_a_line(error)})") from error

            def compute(x: Tensor, session: Any = session, key: str = part.input) -> Sequence[Tensor]:
                return [torch.from_numpy(y) for y in session.run(None, {key: x.numpy()})]

            part.compare(compute, file.name)
    _describe(run, folder)


def usage_of_torch_export(run: Run, name: str) -> str:
    """Python that encodes and decodes."""
    given = "mean, std" if _has_std(run) else "mean,"
    return (
        "import torch\n\n"
        f'encode = torch.export.load("{name}/encoder.pt2").module()\n'
        f'decode = torch.export.load("{name}/decoder.pt2").module()\n'
        f"{given} = encode(images)  # (b, c, h, w), pixels in [0, 1]\n"
        "images = decode(mean)\n"
    )


def usage_of_onnx(run: Run, name: str) -> str:
    """The same with ONNX Runtime."""
    given = "mean, std" if _has_std(run) else "(mean,)"
    return (
        "import onnxruntime\n\n"
        f'encoder = onnxruntime.InferenceSession("{name}/encoder.onnx")\n'
        f'decoder = onnxruntime.InferenceSession("{name}/decoder.onnx")\n'
        f'{given} = encoder.run(None, {{"image": images}})  # float32 (b, c, h, w), pixels in [0, 1]\n'
        '(images,) = decoder.run(None, {"latent": mean})\n'
    )


def _has_std(run: Run) -> bool:
    with torch.no_grad():
        return run.model.encode(torch.zeros(1, *run.model.image_shape)).has_density


@torch.no_grad()
def _parts(run: Run, format: str) -> Iterator[Part]:
    """Encoder and decoder as graphs.

    Raises:
        ConfigError: if torch can make none of the model.
    """
    model, likelihood = (copy.deepcopy(module).float().cpu().eval() for module in (run.model, run.likelihood))
    assert isinstance(model, Autoencoder)
    assert isinstance(likelihood, Likelihood)
    plain = _plain(model)
    generator = torch.Generator().manual_seed(0)
    batch = Dim("batch", min=1)
    free = isinstance(model, FirstStage)
    factor = model.factor if isinstance(model, FirstStage) else 1
    sides = {2: Dim("rows", min=1), 3: Dim("columns", min=1)} if free else {}
    for name, network, traced, shape, scale in (
        ("encoder", _Encode(model), _Encode(plain), model.image_shape, factor),
        ("decoder", _Decode(model, likelihood), _Decode(plain, likelihood), model.latent_shape, 1),
    ):
        shapes = [(n, shape[0], *(scale * side for side in cells)) for n, cells in zip((2, 1), _CELLS, strict=True)]
        shapes = shapes if free else [(n, *shape) for n in (2, 1)]
        first, *others = (torch.rand(one, generator=generator) for one in shapes)
        dims = {0: batch, **{axis: scale * dim if scale > 1 else dim for axis, dim in sides.items()}}
        try:
            program = torch.export.export(traced, (first,), dynamic_shapes=(dims,), strict=False)
        except Exception as error:  # whatever in a model is no graph
            raise ConfigError(
                f"format={format}: torch.export has no graph of the {name} ({in_a_line(error)})"
            ) from error
        outputs = ("mean", "std")[: len(program.graph_signature.user_outputs)] if name == "encoder" else ("image",)
        yield Part(name, network, program, (first, *others), outputs)


def _plain(model: Autoencoder) -> Autoencoder:
    """The same without what asks for the sizes of its input, which networks of diffusers alone do."""
    if not isinstance(model, FirstStage):
        return model
    from diffusers.models.upsampling import Upsample2D

    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Upsample2D) and child.conv is not None:
                parent.register_module(name, _Upsample(child.conv))
    return model


def _tuple(outputs: Any) -> Sequence[Tensor]:
    return outputs if isinstance(outputs, tuple | list) else (outputs,)


def _describe(run: Run, folder: Path) -> None:
    """config.json: what goes in and what comes out."""
    model, factors = run.model, run.factors
    write_json(
        folder / CONFIG,
        {
            "lehr": __version__,
            **without_places({"model": run.config["model"]}),
            "image_shape": list(model.image_shape),
            "latent_shape": list(model.latent_shape),
            "any_size": model.any_size,
            "multiple_of": model.factor if isinstance(model, FirstStage) else None,
            "pixels": [0, 1],
            **(asdict(factors) if factors else {}),
        },
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the notes that the exporters of others make of themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
