"""``python -m probe``: the command line."""

import sys

from probe.cli.main import main

sys.exit(main())
