"""Many runs of one kind trained as one program: each is a lane, with a run directory of its own."""
