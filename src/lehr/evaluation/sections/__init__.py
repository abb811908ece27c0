"""The parts of an evaluation, a file each: what it measures, and what it needs for that."""
