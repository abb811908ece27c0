"""From words, typed or given in Python, to a checked configuration. Only this room, sweep and cli know Hydra."""
