"""Statistics and distances, a file for each idea. Nothing is imported here: a command imports only what it uses."""
