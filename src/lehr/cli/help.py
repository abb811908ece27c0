"""What the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from lehr.config.given import named
from lehr.config.probes import PROBES
from lehr.config.registry import conf_dir
from lehr.config.samplers import SAMPLERS

_TRAIN = """lehr train: train a VAE with an annealed KL term, and keep the statistics of its latents.

Usage: lehr train [group=choice ...] [key=value ...]

What people change most:
  kl.weight=1.0            target weight of the KL term; 1 is the negative ELBO
  kl.hold=5                epochs at weight 0, in which the reconstruction alone is learnt
  kl.warmup=5              epochs in which the weight then ramps from 0 to the target
  model.latent_dim=20      number of latents
  trainer.max_epochs=100   length of the training
  trainer.precision=32-true  or bf16-mixed, 16-mixed, bf16-true, 16-true, 64-true
  data.batch_size=64       examples per step, over all devices together
  seed=0                   every random number is a function of it
  evaluate=quick           at the end: quick, full (samples and representation too), none
  report=auto              at the end report.html, a page to look at: auto (of a sweep), true (of each run too), false
  dir=outputs/...          the run directory
  resume=DIR               go on with an interrupted run

Looking for what is wrong (docs/debugging.md):
  debug=fast               one step of everything, on few images
  debug=overfit            one batch, until it is learnt or not; exit code 0 or 1
  debug=profile            where the time of a step goes: a table and a trace
  debug=anomaly            the operation that makes the first NaN; also with resume=DIR
  debug=true               the traceback of a mistake

Many runs, with -m:
  key=a,b,c                one run for each combination; the same command again goes on with what is left
  sweep=NAME               a whole grid by its name
  sweep.retry=failed       try again what has failed
  pool.workers=auto        runs at once on CPUs; pool.gpus, pool.gpus_per_run and pool.per_gpu on GPUs
  pool.fused=none          or all, auto: runs that differ in numbers alone are one program, always or where it is faster
  hydra.sweep.dir=auto     the directory of all of them; auto for the same whenever the grid is
  hydra/launcher=pool      or fused, basic, joblib, submitit_local, submitit_slurm, ray
  hydra/sweeper=optuna     a search: 'kl.weight=tag(log, interval(0.1,10))'

Groups and their choices:
{groups}

Examples:
  lehr train
  lehr train data=mnist model.latent_dim=50 kl.warmup=20 trainer.max_epochs=60
  lehr train data=images data.path=photos model=conv likelihood=gaussian dir=outputs/photos
  lehr train -m kl.weight=0.1,1,4 kl.warmup=0,5,20 seed=0,1,2

Flags:
  --cfg job                show the configuration and stop; --resolve gives its final values
  --config-dir DIR         a folder of your own configuration files, which come before the shipped ones
  -m, --multirun           one run for each combination of comma-separated values
  --hydra-help             everything that Hydra can do
"""

_SAMPLERS = "\n".join(f"{'':27}{name:<16}{entry.line}" for name, entry in SAMPLERS.items())

SAMPLE_HELP = f"""lehr sample: new images from a finished run.

Usage: lehr sample run=DIR [key=value ...]

Keys and their defaults:
  run=DIR                  the run directory
  method=aggregate         where the latents come from; what has to be fitted is so by lehr evaluate
{_SAMPLERS}
                           interpolate     the way between two encoded test images
  n=64                     how many images (all but interpolate)
  seed=0                   the same seed gives the same images
  covariance=diag          of the aggregate posterior: diag | full
  from=0 to=1 steps=10     an interpolation's two test images, and how many images from one to the other
  out=FILE                 FILE.png (interpolate: and FILE.gif), or FILE.npy with the pixel values
  data.path=PLACE          where the data lie now, if they were moved; data.test_path and data.root likewise

Examples:
  lehr sample run=outputs/digits
  lehr sample run=outputs/digits method=prior n=16 out=prior.png
  lehr sample run=outputs/digits method=interpolate from=3 to=8 steps=12
"""

EVALUATE_HELP = f"""lehr evaluate: how good a finished run is, as a table and as evaluation.json in the run.

Usage: lehr evaluate run=DIR [key=value ...]

Keys and their defaults:
  run=DIR                  the run directory
  weights=best             of a checkpoint, into evaluation-best.json: best | last | ema; not said: as the run has ended
  level=full               quick: likelihood, collapse, reconstruction on 1,000 examples
                           full: these on all examples, generation, representation, and known faults (lehr probe)
  split=test               test | val
  examples=N               at most so many of the split
  iwae_samples=500         K of the importance-weighted bound; quick: 64; of latent maps 16, quick: 1. Time grows
                           with it, memory does not
  samplers=[prior,...]     {", ".join(SAMPLERS)}; what was not fitted yet is, and kept
  features=auto            of samples: inception | classifier (of the data's own labels) | pca
  seed=0                   the same seed gives the same numbers
  data.path=PLACE          where the data lie now, if they were moved; data.test_path and data.root likewise

Examples:
  lehr evaluate run=outputs/digits
  lehr evaluate run=outputs/mnist level=quick iwae_samples=5000
  lehr evaluate run=outputs/mnist samplers=[prior,aggregate,mixture] split=val
  lehr evaluate run=outputs/mnist weights=best

docs/metrics.md says what each number is, and when not to trust it.
"""

_PROBES = "\n".join(f"{'':27}{name:<16}{line}" for name, line in PROBES.items())

PROBE_HELP = f"""lehr probe: known faults of a finished run, with a number, a sentence and a mark each.

Usage: lehr probe run=DIR [key=value ...]
       lehr probe run=WEIGHTS data=images data.path=FOLDER out=FOLDER [key=value ...]

Keys and their defaults:
  run=DIR                  the run directory; or an autoencoder that somebody has published, a folder of diffusers or
                           a file (as model.pretrained takes it), with the images as lehr data takes them
  other=PLACE              another autoencoder, whose latent space is compared: a run, or published weights
  probes=[colour,...]      which to look for; by default all
{_PROBES}
  examples=64              at most so many images
  sizes=[256,512]          shorter sides in pixels at which latents are looked at for spots; by default half, once and
                           twice that of the images
  split=test               test | val
  seed=0                   the same seed gives the same numbers
  out=FOLDER               of probes.json, and of probes/ with a picture of each; by default the run directory
  data.path=PLACE          where the data lie now, if they were moved; data.test_path and data.root likewise

Examples:
  lehr probe run=outputs/vae
  lehr probe run=outputs/vae probes=[colour,border] examples=200
  lehr probe run=taef2 data=images data.path=photos data.size=256 out=outputs/taef2
  lehr probe run=outputs/vae other=outputs/other probes=[compatibility]

docs/latents.md says what each of them means. lehr evaluate level=full looks for those that cost little.
"""

GROUPS_HELP = """lehr groups: whether a finished run reconstructs some images worse than the others.

Usage: lehr groups run=DIR [key=value ...]

Keys and their defaults:
  run=DIR                  the run directory
  by=label                 label | factor | folder | FILE.csv, a table with the name of an image and its group in each
                           line; not said: the label, or each of the factors
  column=NAME              of FILE.csv; or the number of a factor
  against=PLACE            another autoencoder, a run directory or published weights: what each group loses or gains
  split=test               train | val | test
  examples=N               at most so many images of the split
  seed=0                   of the bootstrap: the same seed gives the same numbers
  out=FOLDER               of groups.json and groups.png; by default the run directory
  data.path=PLACE          where the data lie now, if they were moved; data.test_path and data.root likewise

Examples:
  lehr groups run=outputs/photos
  lehr groups run=outputs/faces by=people.csv column=skin_tone
  lehr groups run=outputs/shoes_alone against=outputs/photos

docs/latents.md says how to read it. data.train_on=[NAME] trains on some classes alone, and tests on all.
"""

EXPORT_HELP = """lehr export: a finished run as other programs read it, with a model card.

Usage: lehr export run=DIR out=FOLDER [key=value ...]

Keys and their defaults:
  run=DIR                  the run directory
  out=FOLDER               the folder that is made, whole or not at all
  format=diffusers         diffusers     AutoencoderKL, AutoencoderTiny or VQModel .from_pretrained(FOLDER)
                           single_file   FOLDER/FOLDER.safetensors by the names of latent diffusion; of a tiny
                                         autoencoder by those of TAESD
                           onnx          encoder.onnx and decoder.onnx, for any model
                           torch_export  encoder.pt2 and decoder.pt2, for any model
  weights=best             of a checkpoint: best | last | ema; not said: as the run has ended
  overwrite=false          true: replace an earlier export
  data.path=PLACE          where the data lie now, if they were moved and weights is said

Examples:
  lehr export run=outputs/photos out=vae
  lehr export run=outputs/photos out=vae-onnx format=onnx
  lehr export run=outputs/photos out=vae-ema weights=ema overwrite=true

README.md in the folder is a model card; its licence is left to you. format=onnx needs pip install 'lehr[onnx]'.
"""

_DATA = """lehr data: what a data set holds and what is odd in it, before anyone trains on it.

Usage: lehr data [data=choice] [data.key=value ...]

The data are said as they are to lehr train:
{groups}

Keys and their defaults:
  data.path=PLACE          the folder or file of your own images; every other key of the data likewise
  seed=0                   decides the validation split
  format=table             what is printed: table | json
  out=FILE                 FILE.png for the picture, or FILE.json for the numbers in its place; outputs/data/NAME.png

It prints how many images each split has, their levels, the classes and how even they are, what binarize and crop make
of the images, everything odd (damaged files, all of them; equal images within and across splits; images of one colour;
what was left out, and why), and the likelihood that such pixels ask for. The picture shows examples, the mean image,
the histogram, and what is odd.

Examples:
  lehr data data=mnist
  lehr data data=images data.path=photos data.size=32
  lehr data data=arrays data.path=images.npz data.key=train format=json

docs/data.md says what each number is.
"""


_COMPARE = """lehr compare: autoencoders side by side on the same images, with intervals of their differences.

Usage: lehr compare MODEL MODEL ... [data=choice] [key=value ...]

A MODEL is a run directory, a folder of diffusers (or of a pipeline), a single file (of latent diffusion, diffusers or
TAESD), a folder with an encoder's and a decoder's file, or a name on the hub.

The images are those of the first run, changed by data.key=value, or others, as they are said to lehr train:
{groups}

Keys and their defaults:
  split=test               test | val | train | all
  examples=N               at most so many of them, chosen at random
  sizes=[256,512]          the time and the memory of encoding and decoding one image of these sides
  precisions=[32-true]     in these precisions, as of trainer.precision
  swap=false               true: encode with each, decode with every other, of the same latent space
  pictures=8               images in the picture: where each model is the furthest behind, and where all are bad
  seed=0                   of the data's validation split, and of resampling
  format=table             what is printed: table | json
  out=DIR                  for comparison.json, comparison.csv (every image), comparison.png; outputs/compare/NAMES

Examples:
  lehr compare outputs/a outputs/b
  lehr compare outputs/a taef2 data.size=256 sizes=[256,512] precisions=[32-true,bf16-true]
  lehr compare sdxl-vae sdxl-vae-fp16-fix data=images data.path=photos data.size=512 swap=true

docs/latents.md says how it is compared.
"""


def compare_help(config_dir: Path | None) -> str:
    """The help of `lehr compare`, with the data sets of the shipped and of the user's configuration."""
    return _COMPARE.format(groups=_groups(config_dir, only="data"))


_IMPORT = """lehr import: a published autoencoder as a run directory, for every command that works on one.

Usage: lehr import PLACE dir=DIR [data=choice] [data.key=value ...]

PLACE is a folder of diffusers, or of a pipeline with vae/ in it; a folder with an encoder's and a decoder's file, as of
TAESD; a file (.safetensors, .ckpt, .pth) in the layout of diffusers, latent diffusion or TAESD; or a name on the hub.
Which model it is, is worked out from the weights.

Keys and their defaults:
  dir=DIR                  the run directory that is made
  overwrite=false          true: replace a run that is there
  seed=0                   decides the validation split

Images, if any, are said as to lehr train. With them the statistics of q(z) are measured, and reconstructions drawn:
{groups}

Examples:
  lehr import taef2 dir=outputs/taef2
  lehr import vae.safetensors dir=outputs/vae data=images data.path=photos data.size=256

Then: lehr evaluate run=DIR, lehr sample run=DIR, lehr export run=DIR out=FOLDER, lehr train start_from=DIR ...
"""


def import_help(config_dir: Path | None) -> str:
    """The help of `lehr import`, with the data sets of the shipped and of the user's configuration."""
    return _IMPORT.format(groups=_groups(config_dir, only="data"))


def data_help(config_dir: Path | None) -> str:
    """The help of `lehr data`, with the data sets of the shipped and of the user's configuration."""
    return _DATA.format(groups=_groups(config_dir, only="data"))


def train_help(config_dir: Path | None) -> str:
    """The help of `lehr train`, with the groups of the shipped and of the user's configuration."""
    return _TRAIN.format(groups=_groups(config_dir))


def _groups(config_dir: Path | None, only: str | None = None) -> str:
    """Every group, or one, and what it can be."""
    choices: dict[str, set[str]] = {}
    for folder in filter(None, (conf_dir(), config_dir)):
        for file in folder.rglob("*.yaml"):
            group = file.parent.relative_to(folder).as_posix()
            is_choice = not file.stem.startswith("_") and bool(named(group, [file.stem]))
            if group != "." and not group.startswith("hydra/") and is_choice:
                choices.setdefault(group, set()).add(file.stem)
    shown = {group: names for group, names in choices.items() if only in (None, group)}
    width = max(map(len, shown))
    return "\n".join(f"  {group:<{width}}  {', '.join(_with_small(names))}" for group, names in sorted(shown.items()))


def _with_small(names: set[str]) -> list[str]:
    """The names in order; NAME and NAME_small as one, NAME[_small]."""
    small = {f"{name}_small" for name in names} & names
    return [f"{name}[_small]" if f"{name}_small" in small else name for name in sorted(names - small)]
