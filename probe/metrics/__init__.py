"""One file per metric; nothing is imported here, so that a command pays only for what it uses."""
