"""What `lehr train` says at the end of runs whose latents are maps."""

from __future__ import annotations

import torch

from lehr.cli.summary import print_summary
from lehr.evaluation.statistics import Source, summary, write_statistics
from lehr.posterior import AggregatePosterior, DiagonalGaussian
from lehr.run.directory import RunDirectory


def said(capsys, tmp_path, shape):
    mean = 1 + 2 * torch.randn(50, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    aggregate = AggregatePosterior.of(DiagonalGaussian(mean, torch.full_like(mean, -9.0)))
    write_statistics(tmp_path / "posterior", aggregate, Source("made up", "train"))
    metrics = {f"posterior/{name}": value for name, value in summary(aggregate).items()}
    print_summary({"test/distortion": 5.0, "test/psnr": 21.347, **metrics}, RunDirectory(tmp_path))
    return capsys.readouterr().out, aggregate


def test_a_latent_map_is_told_with_what_diffusion_needs(capsys, tmp_path):
    out, aggregate = said(capsys, tmp_path, (2, 3, 3))
    assert f"  {aggregate.scaling_factor:.4f}  1 / standard deviation of all latents\n" in out
    assert f"  {aggregate.shift_factor:.4f}  their mean\n" in out
    assert "  test PSNR" in out
    assert "  21.35  dB, at a sample of q(z|x)\n" in out


def test_of_flat_latents_no_factor_is_said(capsys, tmp_path):
    assert "scaling factor" not in said(capsys, tmp_path, (4,))[0]
