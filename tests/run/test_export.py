"""`lehr import` and `lehr export`: a model goes from one layout to a run and to another, and computes the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from first_stages import TRUNK, made
from safetensors.torch import load_file

import lehr
from lehr.errors import CheckpointError, ConfigError, DataError
from lehr.models import KLAutoencoder, TinyAutoencoder, VQAutoencoder
from lehr.run.diffusers_folder import require_pixels, write_diffusers
from lehr.run.export.graphs import _describe
from lehr.run.export.single_file import write_single_file
from lehr.run.factors import Factors
from lehr.run.load import Run
from lehr.run.opened import open_autoencoder

IMAGES = np.random.default_rng(0).random((24, 3, 16, 16), dtype=np.float32)
MODELS = {
    "AutoencoderKL": (KLAutoencoder, {**TRUNK, "attention_levels": [1]}),
    "VQModel": (VQAutoencoder, {**TRUNK, "codebook_size": 16}),
    "AutoencoderTiny": (TinyAutoencoder, {"base_channels": 8, "blocks": [1, 1]}),
}


def folder_of(name: str, path: Path, **config) -> Path:
    """A folder of diffusers with a model that has weights of its own, as far from 0 as those of trained ones."""
    cls, values = MODELS[name]
    write_diffusers(path, made(cls, **values))
    said = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**said, **config}))
    return path


@pytest.fixture(scope="module", params=MODELS)
def imported(request, tmp_path_factory) -> lehr.Run:
    """A run of each class, measured on images."""
    path = tmp_path_factory.mktemp(request.param)
    return lehr.import_model(folder_of(request.param, path / "vae"), path / "run", data=IMAGES)


@pytest.fixture(scope="module")
def kl(tmp_path_factory) -> lehr.Run:
    path = tmp_path_factory.mktemp("kl")
    return lehr.import_model(folder_of("AutoencoderKL", path / "vae", scaling_factor=0.18215), path / "run")


def test_an_imported_model_is_a_finished_run_with_what_was_measured_of_it(imported, tmp_path):
    assert imported.status["state"] == "done"
    assert imported.status["imported"]["from"].endswith("vae")
    with torch.no_grad():
        mean = torch.cat([imported.model.encode(x).mean for x in torch.from_numpy(IMAGES).split(8)])
    held_out = json.loads((imported.path / "data.json").read_text())["splits"]
    assert imported.statistics.n == held_out["train"]["n"]
    assert imported.statistics.n < len(mean)
    assert {"test/psnr", "posterior/scaling_factor"} <= imported.metrics.keys()
    assert (imported.path / "samples" / "reconstruction.png").is_file()


def test_diffusers_loads_what_was_exported_and_computes_the_same(imported, tmp_path):
    import diffusers

    out = lehr.export(imported, tmp_path / "vae")
    name = json.loads((out / "config.json").read_text())["_class_name"]
    theirs = getattr(diffusers, name).from_pretrained(out).eval()
    x = torch.from_numpy(IMAGES[:4])
    with torch.no_grad():
        z = imported.model.encode(x).mean
        decoded = imported.decode(z)
        if name == "AutoencoderKL":
            posterior = theirs.encode(2 * x - 1).latent_dist
            torch.testing.assert_close(posterior.mean, z, rtol=0, atol=1e-5)
            torch.testing.assert_close(posterior.var, imported.model.encode(x).var, rtol=1e-5, atol=1e-5)
            images = theirs.decode(z).sample
        elif name == "VQModel":
            codes = theirs.quantize(theirs.encode(2 * x - 1).latents)[0]
            torch.testing.assert_close(codes, z, rtol=0, atol=1e-5)
            images = theirs.decode(z, force_not_quantize=True).sample
        else:
            torch.testing.assert_close(theirs.encode(2 * x - 1).latents, z, rtol=0, atol=1e-5)
            images = theirs.decode(z).sample
    torch.testing.assert_close((images + 1) / 2, decoded, rtol=0, atol=1e-5)
    assert theirs.config["scaling_factor"] == pytest.approx(imported.statistics.scaling_factor)
    if name == "AutoencoderKL":
        assert theirs.config["shift_factor"] == pytest.approx(imported.statistics.shift_factor)
        assert theirs.config["latents_std"] == pytest.approx(imported.statistics.channels.var.sqrt().tolist())


def test_a_single_file_is_the_same_model_when_it_is_opened(imported, tmp_path):
    out = lehr.export(imported, tmp_path / "vae", "single_file")
    file = out / "vae.safetensors"
    names = load_file(file).keys()
    assert ("decoder.mid.attn_1.q.weight" in names) == (not isinstance(imported.model, TinyAutoencoder))
    again = open_autoencoder(file)
    x = torch.from_numpy(IMAGES[:4])
    assert torch.equal(again.encode(x).mean, imported.encode(x).mean)
    assert torch.equal(again.decode(again.encode(x).mean), imported.decode(imported.encode(x).mean))
    assert again.factors.scaling_factor == pytest.approx(imported.factors.scaling_factor)


def test_what_a_published_model_says_of_its_latents_goes_with_it(kl, tmp_path):
    out = lehr.export(kl, tmp_path / "vae")
    assert json.loads((out / "config.json").read_text())["scaling_factor"] == 0.18215
    assert "0.18215, as it was published" in (out / "README.md").read_text()


def test_whether_pipelines_compute_it_in_float32_goes_with_it_through_either_layout(tmp_path):
    folder = folder_of("AutoencoderKL", tmp_path / "vae", force_upcast=False)
    run = lehr.import_model(folder, tmp_path / "run")
    out = lehr.export(run, tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["force_upcast"] is False
    assert "`force_upcast` is false: pipelines compute it in the precision" in (out / "README.md").read_text()
    file = lehr.export(run, tmp_path / "file", "single_file") / "file.safetensors"
    again = lehr.import_model(file, tmp_path / "again")
    again.to_diffusers(tmp_path / "third")
    assert json.loads((tmp_path / "third" / "config.json").read_text())["force_upcast"] is False


def test_the_card_says_what_is_known_and_leaves_the_licence_open(imported, tmp_path):
    out = lehr.export(imported, tmp_path / "vae")
    card = (out / "README.md").read_text()
    assert "\n\nSamples from N(agg_mean, agg_var).\n" in card
    for part in (
        "# license: say",
        "## Data",
        "## Recipe",
        "## Metrics",
        "## Statistics of the latents",
        "from diffusers",
    ):
        assert part in card, part
    assert f"| 0 | {imported.statistics.channels.mean[0]:.5g} |" in card
    assert "](reconstruction.png)" in card
    assert (out / "reconstruction.png").read_bytes() == (imported.path / "samples/reconstruction.png").read_bytes()
    assert str(tmp_path.parent) not in card


def test_the_folder_that_one_is_in_stays(kl, tmp_path, monkeypatch):
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    before = here.stat().st_ino
    lehr.export(kl, ".")
    assert {"config.json", "lehr.json", "README.md"} < {path.name for path in here.iterdir()}
    lehr.export(kl, ".", "single_file", overwrite=True)
    assert {path.name for path in here.iterdir()} == {"here.safetensors", "lehr.json", "README.md"}
    assert here.stat().st_ino == Path.cwd().stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_logits_are_not_written_as_pixels(kl, tmp_path):
    from lehr.objective import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Laplace

    for likelihood in (Bernoulli(), ContinuousBernoulli()):
        run = Run(kl.path, kl.config, lambda one=likelihood: replace(kl._parts, likelihood=one), None)
        with pytest.raises(ConfigError, match=r"Bernoulli takes what the decoder gives for logits"):
            lehr.export(run, tmp_path / "out")
        with pytest.raises(ConfigError, match=r"Bernoulli takes what the decoder gives for logits"):
            run.to_diffusers(tmp_path / "out")
    for likelihood in (Laplace(0.5), Gaussian(), DiscretizedLogistic()):
        require_pixels(likelihood, "")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_a_loaded_run_is_exported_where_it_is_asked_for(kl, tmp_path):
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        lehr.export(kl, tmp_path / "out", weights="last")


def test_a_folder_of_one_file_is_opened_whatever_it_is_called(kl, tmp_path):
    out = lehr.export(kl, tmp_path / "my_autoencoder", "single_file")
    weights = open_autoencoder(out).model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in kl.model.state_dict().items())
    (out / "other.safetensors").write_bytes((out / "my_autoencoder.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"which of my_autoencoder\.safetensors, other\.safetensors \.\.\. is it"):
        open_autoencoder(out)


def test_a_file_of_a_model_that_diffusers_has_not_says_what_its_latents_are_scaled_by(tmp_path):
    model = TinyAutoencoder((3, 16, 16), base_channels=8, blocks=[1, 1], global_branch=True)
    write_single_file(tmp_path / "vae.safetensors", model, Factors(0.25, 0.5))
    opened = open_autoencoder(tmp_path / "vae.safetensors")
    assert opened.model.global_branch
    assert opened.factors == Factors(0.25, 0.5)


def test_where_files_lie_on_a_disk_is_not_published(kl, tmp_path):
    config = {**kl.config, "model": {**kl.config["model"], "pretrained": "/home/me/vae.safetensors"}}
    run = Run(kl.path, config, lambda: kl._parts, None)
    _describe(run, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model"]["pretrained"] == "vae.safetensors"


def test_nothing_is_replaced_that_is_no_export_and_no_export_unasked(kl, tmp_path):
    out = lehr.export(kl, tmp_path / "vae", "single_file")
    with pytest.raises(ConfigError, match="is there; overwrite=true replaces an earlier export"):
        lehr.export(kl, out)
    lehr.export(kl, out, overwrite=True)
    assert (out / "diffusion_pytorch_model.safetensors").is_file()
    assert not (out / "vae.safetensors").exists()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds mine\.txt, which lehr export has not written"):
        lehr.export(kl, out, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vae"]


def test_a_format_that_a_model_cannot_be_written_in_is_said_in_a_line(finished_run, kl, tmp_path):
    for format in ("diffusers", "single_file"):
        with pytest.raises(ConfigError, match=f"format={format}: .*: there is no such layout of MLP, but of KLA"):
            lehr.export(finished_run, tmp_path / "out", format)
    with pytest.raises(ConfigError, match="format=gguf: must be 'diffusers', 'single_file', 'onnx' or"):
        lehr.export(kl, tmp_path / "out", "gguf")
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_imported_without_images_says_how_it_gets_what_it_lacks(lehr, kl):
    for words in (("evaluate", f"run={kl.path}"), ("sample", f"run={kl.path}")):
        code, _, err = lehr(*words)
        assert code == 2
        assert "lehr import PLACE dir=DIR overwrite=true data=images data.path=FOLDER measures" in err
        assert err.count("\n") == 1
    code, _, err = lehr("sample", f"run={kl.path}", "method=prior", "n=2")
    assert (code, err) == (0, "")


def test_what_cannot_be_imported_is_said_in_a_line(kl, tmp_path):
    place = folder_of("AutoencoderKL", tmp_path / "vae")
    with pytest.raises(ConfigError, match="holds a run; overwrite=true replaces it"):
        lehr.import_model(place, kl.path)
    with pytest.raises(CheckpointError, match="is no run directory and no autoencoder"):
        lehr.import_model(Path(lehr.__file__).parent, tmp_path / "run")
    with pytest.raises(DataError, match=r"has images of 1 channel, .*vae takes 3; data\.channels=3"):
        lehr.import_model(place, tmp_path / "run", data=IMAGES[:, :1])
    with pytest.raises(ConfigError, match="holds a run; overwrite=true replaces it"):  # before images are looked at
        lehr.import_model(place, kl.path, data=IMAGES[:, :1])
    with pytest.raises(CheckpointError, match=f"{kl.path}: is a run of lehr already, which is used as it is"):
        lehr.import_model(kl.path, tmp_path / "run")
    with pytest.raises(CheckpointError, match=f"model.safetensors: is of the run {kl.path}, which is used"):
        open_autoencoder(kl.path / "model" / "model.safetensors")
    assert not (tmp_path / "run").exists()


def test_the_commands_do_the_same(lehr, tmp_path):
    place = folder_of("AutoencoderTiny", tmp_path / "vae")
    code, out, err = lehr("import", str(place), f"dir={tmp_path / 'run'}")
    assert (code, err) == (0, "")
    assert "TinyAutoencoder" in out
    code, out, err = lehr("export", f"run={tmp_path / 'run'}", f"out={tmp_path / 'out'}", "format=single_file")
    assert (code, err) == (0, "")
    assert str(tmp_path / "out" / "out.safetensors") in out
    code, _, err = lehr("import", f"dir={tmp_path / 'run'}", "data.path=x")
    assert code == 2
    assert "say what: lehr import PLACE dir=DIR" in err


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch_export"])
def test_graphs_compute_what_the_model_does_for_any_size_and_number_of_images(imported, finished_run, tmp_path, format):
    for run in (imported, lehr.load(finished_run)):
        out = lehr.export(run, tmp_path / run.path.parent.name, format)
        encode, decode = (opened(out / f"{part}.{ENDINGS[format]}") for part in ("encoder", "decoder"))
        c, h, w = run.model.image_shape
        for n, height, width in ((1, h, w), (5, 2 * h, 3 * w)) if run.model.any_size else ((3, h, w),):
            x = torch.rand(n, c, height, width, generator=torch.Generator().manual_seed(n))
            posterior = run.encode(x)
            found = encode(x)
            torch.testing.assert_close(found[0], posterior.mean, rtol=0, atol=1e-4)
            assert len(found) == 1 + posterior.has_density
            if posterior.has_density:
                torch.testing.assert_close(found[1], posterior.var.sqrt(), rtol=0, atol=1e-4)
            torch.testing.assert_close(decode(posterior.mean)[0], run.decode(posterior.mean), rtol=0, atol=1e-4)


ENDINGS = {"onnx": "onnx", "torch_export": "pt2"}


def opened(path: Path):
    """What a graph computes, as whoever it is for reads it."""
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda x: found if isinstance(found := module(x), tuple | list) else (found,)
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: [torch.from_numpy(y) for y in session.run(None, {name: x.numpy()})]


@pytest.mark.slow
def test_a_graph_that_computes_something_else_is_not_written(kl, tmp_path, monkeypatch):
    from lehr.run.export import graphs

    compare = graphs.Part.compare

    def off(part, compute, what):
        compare(part, lambda x: [y + 1e-3 for y in compute(x)], what)

    monkeypatch.setattr(graphs.Part, "compare", off)
    with pytest.raises(CheckpointError, match=r"encoder\.pt2: mean of .* differs from that of the model by"):
        lehr.export(kl, tmp_path / "out", "torch_export")
    assert not list(tmp_path.iterdir())


def test_what_is_not_installed_is_said_with_how_to_get_it(kl, tmp_path, monkeypatch):
    monkeypatch.setattr("lehr.run.export.graphs.ONNX_PACKAGES", ("onnx", "of_nobody"))
    with pytest.raises(ConfigError, match=r"format=onnx: of_nobody not installed; pip install 'lehr\[onnx\]'"):
        lehr.export(kl, tmp_path / "out", "onnx")
    assert not list(tmp_path.iterdir())
