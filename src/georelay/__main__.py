"""`python -m georelay`."""

import sys

from georelay.cli import main

sys.exit(main())
