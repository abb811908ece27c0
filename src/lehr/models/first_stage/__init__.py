"""Autoencoders of images that a diffusion model lives in, of diffusers' parts, which are imported late."""
