#!/usr/bin/env python3
"""The same as `rtx weights`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["weights", *sys.argv[1:]]))
