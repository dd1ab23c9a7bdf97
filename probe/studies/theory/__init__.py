"""The paper's theory, measured on one autoencoder and its attractors."""
