"""Looking for what is wrong with a training: `debug=overfit`, `fast`, `profile` and `anomaly`; docs/debugging.md."""
