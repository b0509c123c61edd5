#!/usr/bin/env python3
"""The same as `rtx train`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["train", *sys.argv[1:]]))
