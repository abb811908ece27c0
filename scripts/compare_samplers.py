"""Do samples from the aggregate posterior beat samples from the prior? Trains, evaluates, and prints a Markdown table.

    python scripts/compare_samplers.py [digits] [mnist] [sprites] [--out outputs/samplers]

Finished runs and evaluations in --out are used again, so that it can be stopped and started. MNIST and the sprites are
read from LEHR_DATA.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from lehr.config.samplers import SAMPLERS

SETTINGS = {
    "digits": ["data=digits", "kl=constant"],
    "mnist": ["experiment=mnist", "trainer.max_epochs=20", "model.latent_dim=20"],
    "sprites": [
        *("data=arrays", "data.path=${oc.env:LEHR_DATA}/lpc_sprites/lpc_sprites64.npz", "data.key=images"),
        *("data.labels_key=factors", "model=conv", "model.channels=[32,32,64,64]", "model.latent_dim=20"),
        *("likelihood=gaussian", "likelihood.scale=0.1", "kl=constant", "optimizer.decay=cosine"),
        "trainer.max_epochs=6",
    ],
}
WEIGHTS = {"digits": (0.1, 0.5, 1, 2), "mnist": (0.1, 0.5, 1, 4), "sprites": (1, 30)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETTINGS), metavar="SET", help=", ".join(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("outputs/samplers"))
    arguments = parser.parse_args()
    if unknown := set(arguments.sets) - set(SETTINGS):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(SETTINGS)}")
    print(f"| data | KL weight | moment KL | {' | '.join(('real', *SAMPLERS))} | log p(z): prior, aggregate, full |")
    print(f"|---|---|---|{'---|' * (len(SAMPLERS) + 2)}", flush=True)
    for name in arguments.sets:
        for weight in WEIGHTS[name]:
            print(row(name, weight, evaluated(name, weight, arguments.out / f"{name}-{weight}")), flush=True)
    return 0


def evaluated(name: str, weight: float, path: Path) -> dict:
    """The evaluation of the run with this KL weight, made where it is not there."""
    status = path / "status.json"
    if not status.exists() or json.loads(status.read_text())["state"] != "done":
        lehr("train", *SETTINGS[name], f"kl.weight={weight}", f"dir={path}", "overwrite=true", "logger=none")
    result = path / "evaluation.json"
    if not result.exists() or json.loads(result.read_text())["level"] != "full":
        lehr("evaluate", f"run={path}", "iwae_samples=64")
    return json.loads(result.read_text())


def lehr(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "lehr", *arguments], check=True, stdout=subprocess.DEVNULL)


def row(name: str, weight: float, table: dict) -> str:
    distances = [table.get(f"generation/{sampler}/frechet") for sampler in ("real", *SAMPLERS)]
    best = min(x for x in distances[1:] if x is not None)
    cells = ["-" if x is None else f"**{x:.1f}**" if x == best else f"{x:.1f}" for x in distances]
    moment_kl = table["collapse/moment_kl_full"] or table["collapse/moment_kl_diag"]
    log_probs = [
        table.get(f"generation/{sampler}/latent_log_prob") for sampler in ("prior", "aggregate", "aggregate_full")
    ]
    shown = ", ".join("-" if x is None else f"{x:.1f}" for x in log_probs)
    return f"| {name} | {weight:g} | {moment_kl:.2f} | {' | '.join(cells)} | {shown} |"


if __name__ == "__main__":
    sys.exit(main())
