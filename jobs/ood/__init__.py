"""An OOD experiment of ``probe ood``."""
