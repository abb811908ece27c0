"""Statistics, samples and evaluation of a model that is on the device, against the same model on the CPU."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import lehr
from lehr.posterior.aggregate import flat_moments


@pytest.fixture(scope="module")
def images():
    return torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()


def test_images_are_encoded_and_decoded_as_on_the_cpu(finished_run, images, device):
    run, here = lehr.load(finished_run).to(device), lehr.load(finished_run)
    q, usual = run.encode(images), here.encode(images)
    assert q.mean.device.type == run.device.type == device
    assert q.mean.cpu() == pytest.approx(usual.mean, rel=1e-4, abs=1e-4)
    assert q.var.cpu() == pytest.approx(usual.var, rel=1e-4, abs=1e-4)
    assert run.decode(q.mean).cpu() == pytest.approx(here.decode(usual.mean), abs=1e-4)


def test_statistics_are_summed_in_float64_where_the_latents_are(finished_run, images, device):
    q = lehr.load(finished_run).to(device).encode(images)
    parts = [flat_moments(q[rows]) for rows in torch.arange(300, device=device).split(70)]
    moments = parts[0]
    for part in parts[1:]:
        moments = moments.merge(part)
    mean, var = (part.double().cpu().numpy() for part in (q.mean, q.var))
    assert moments.mean.device.type == device
    assert moments.mean.cpu().numpy() == pytest.approx(mean.mean(0), abs=1e-12)
    assert moments.var.cpu().numpy() == pytest.approx(var.mean(0), abs=1e-12)
    assert moments.scatter.cpu().numpy() / 300 == pytest.approx(np.cov(mean.T, bias=True), abs=1e-12)


@pytest.mark.parametrize("method", ["prior", "aggregate", "aggregate_full"])
def test_latents_are_drawn_on_the_device_from_what_the_statistics_say(finished_run, device, method):
    run = lehr.load(finished_run).to(device)
    z = run.sample_latents(20_000, method, seed=3)
    assert z.device.type == device
    assert torch.equal(z, run.sample_latents(20_000, method, seed=3))
    mean, var = (torch.zeros(20), torch.ones(20)) if method == "prior" else (run.posterior.mean, run.posterior.var)
    mean, var, z = mean.cpu().double(), var.cpu().double(), z.cpu().double()
    assert (((z.mean(0) - mean) / (var / 20_000).sqrt()).abs() < 5).all()  # standard errors
    assert ((z.var(0) / var - 1).abs() < 5 * (2 / 20_000) ** 0.5).all()
    images = run.sample(16, method)
    assert images.device.type == device
    assert 0 <= images.min() < images.max() <= 1


@pytest.mark.gpu
def test_a_gpu_evaluates_a_run_as_a_cpu_does(finished_run, lehr, tmp_path, monkeypatch):
    """Its test images are binarised by its own noise, so the numbers differ by what another draw of them does."""
    found = []
    for name, there in (("gpu", True), ("cpu", False)):
        path = shutil.copytree(finished_run, tmp_path / name)
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert lehr("evaluate", f"run={path}", "level=quick")[0] == 0
        found.append(json.loads((path / "evaluation.json").read_text()))
    for name in ("likelihood/elbo", "likelihood/rate", "likelihood/iwae", "reconstruction/psnr"):
        assert found[0][name] == pytest.approx(found[1][name], rel=0.03), name
