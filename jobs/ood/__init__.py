"""The stages of an OOD experiment."""
