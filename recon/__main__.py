"""`python -m rayfold.recon` is the command `rayfold`."""

import sys

from rayfold.recon.cli import main

sys.exit(main())
