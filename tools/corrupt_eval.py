#!/usr/bin/env python3
"""The same as `rtx corrupt_eval`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["corrupt_eval", *sys.argv[1:]]))
