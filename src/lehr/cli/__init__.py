"""The commands: the only rooms that read sys.argv, and with the sweep the only ones that know Hydra."""
