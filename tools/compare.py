#!/usr/bin/env python3
"""The same as `rtx compare`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["compare", *sys.argv[1:]]))
