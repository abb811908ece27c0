"""A run directory: who may write there, what it holds, and what is made when training ends; without Lightning."""
