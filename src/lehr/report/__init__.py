"""What people look at: the report of a run and of a sweep, made of their files alone. Nothing here imports torch."""
