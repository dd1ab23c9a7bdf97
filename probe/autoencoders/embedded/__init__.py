"""The autoencoder that comes with the package, and how it was trained."""
