"""The command line: one file per subcommand, each thin."""

import jobs  # noqa: F401  hears Ctrl-C from here on
