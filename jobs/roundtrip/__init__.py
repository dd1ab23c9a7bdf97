"""A round trip of ``probe roundtrip``."""
