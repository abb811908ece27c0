"""One run: the LightningModule, the callbacks, and what goes on from start to end."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "AggregateStatistics": "callbacks.aggregate",
        "CSV": "loggers.csv_files",
        "Checkpoints": "callbacks.checkpoints",
        "EMAPlan": "ema",
        "EarlyStopping": "callbacks.early_stopping",
        "MLflow": "loggers.mlflow_run",
        "Progress": "callbacks.progress",
        "RunLogger": "loggers.run_logger",
        "SampleGrids": "callbacks.samples",
        "TensorBoard": "loggers.tensorboard",
        "VAEModule": "module",
        "WandB": "loggers.wandb_run",
        "load": ".run.load",
        "train": "session",
    },
)
