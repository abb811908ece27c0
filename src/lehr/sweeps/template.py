"""Imports what a run needs, in the process that the pool's processes are forked off."""

import importlib

from lehr.config.registry import GROUPS, targets
from lehr.startup import quick_imports

with quick_imports():
    import PIL.PngImagePlugin  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    import lehr.training.session  # noqa: F401

    for _group in GROUPS:
        for _target in targets(_group):
            _module, _, _name = _target.rpartition(".")
            getattr(importlib.import_module(_module), _name)
