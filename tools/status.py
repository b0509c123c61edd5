#!/usr/bin/env python3
"""The same as `rtx status`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["status", *sys.argv[1:]]))
