#!/usr/bin/env python3
"""The same as `rtx report`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["report", *sys.argv[1:]]))
