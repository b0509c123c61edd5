#!/usr/bin/env python3
"""The same as `rtx import_published`."""

import sys

from rtx.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["import_published", *sys.argv[1:]]))
