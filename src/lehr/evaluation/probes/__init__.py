"""Known faults of autoencoders, each with a number, a sentence and, where there is something to see, a picture."""
