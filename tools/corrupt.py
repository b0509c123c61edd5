#!/usr/bin/env python3
"""The same as `rtx corrupt`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["corrupt", *sys.argv[1:]]))
