"""Imports what a run needs, in the process that the pool's processes are forked off."""

import gc
import importlib

import PIL.PngImagePlugin  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import lehr.training.run  # noqa: F401
from lehr.config.schema import SCHEMAS

for _schemas in SCHEMAS.values():
    for _target in _schemas:
        _module, _, _name = _target.rpartition(".")
        getattr(importlib.import_module(_module), _name)

# what is looked at now is never looked at again, and so stays shared with the processes to come
gc.collect()
gc.freeze()
