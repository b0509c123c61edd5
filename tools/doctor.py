#!/usr/bin/env python3
"""The same as `rtx doctor`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["doctor", *sys.argv[1:]]))
