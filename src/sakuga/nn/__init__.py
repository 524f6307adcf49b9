"""The networks: transformer, VAE, text encoder, and their files. Torch lives here; nothing here knows the store."""
