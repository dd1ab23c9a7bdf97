"""Round trips: what is left of an image that is encoded and decoded again and again."""
