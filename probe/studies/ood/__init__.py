"""OOD detection by trajectories in the latent space (paper, Section 4.2), against baselines on the same latents."""
