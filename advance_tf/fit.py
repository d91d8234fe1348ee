"""`python -m advance_tf.fit` is the command `advance fit`."""

import sys

from advance_tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["fit", *sys.argv[1:]]))
