"""A trained autoencoder for others: as diffusers, latent diffusion, ONNX Runtime or torch read it."""
