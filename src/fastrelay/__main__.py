"""`python -m fastrelay`: the same as the console script."""

import sys

from fastrelay.admin.command_line import main

sys.exit(main())
