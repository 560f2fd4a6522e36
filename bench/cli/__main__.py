"""`python -m bench.cli`: how worker processes are started."""

import sys

from bench.cli.main import main

sys.exit(main())
