"""What a configuration may hold, and how its components are built. Knows neither torch nor Hydra."""
