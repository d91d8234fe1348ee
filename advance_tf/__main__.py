"""`python -m advance_tf COMMAND` is the command `advance COMMAND`."""

import sys

from advance_tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
