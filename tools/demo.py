#!/usr/bin/env python3
"""The same as `rtx demo`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["demo", *sys.argv[1:]]))
