"""`python -m atoll.daemon`."""

import sys

from atoll.daemon.main import main

sys.exit(main(sys.argv[1:]))
