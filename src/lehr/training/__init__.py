"""One run: the LightningModule, the callbacks, and what goes on from start to end."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "AggregateStatistics": "callbacks.aggregate",
        "Checkpoints": "callbacks.checkpoints",
        "EMAPlan": "ema",
        "EarlyStopping": "callbacks.early_stopping",
        "Progress": "callbacks.progress",
        "SampleGrids": "callbacks.samples",
        "TensorBoard": "tensorboard",
        "VAEModule": "module",
        "load": ".run.load",
        "train": "session",
    },
)
