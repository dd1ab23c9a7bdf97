"""Training the paper's convolutional autoencoder (Section 3, Table 4), deterministic and resumable."""
