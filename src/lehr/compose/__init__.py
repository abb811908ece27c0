"""From words, typed or given in Python, to a checked configuration. Only this room, sweeps and cli know Hydra."""
