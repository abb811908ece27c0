"""Train variational autoencoders with an annealed KL term, and know what their latents hold.

`lehr.load(run_dir)` gives back a trained model and the statistics of its latents, `lehr.load_sweep(sweep_dir)` the runs
of a sweep as a table; the rooms `lehr.posterior`, `lehr.objective` and `lehr.models` can be used as a library.
"""

from lehr.lazy import exports

__version__ = "0.1.0"

__getattr__, __dir__ = exports(
    __name__,
    {
        "CheckpointError": "errors",
        "ConfigError": "errors",
        "DataError": "errors",
        "LehrError": "errors",
        "Run": "run.load",
        "Stopped": "errors",
        "compare": "api.compare",
        "describe": "api.describe",
        "export": "api.export",
        "groups": "api.groups",
        "import_model": "api.importing",
        "load": "run.load",
        "load_sweep": "sweeps.frame",
        "probe": "api.probe",
        "sweep": "api.sweep",
        "train": "api.train",
        "write_report": "api.report",
    },
)
