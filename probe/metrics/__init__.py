"""One file per metric. Nothing is imported here, so that a command imports only what it uses."""
