#!/usr/bin/env python3
"""The same as `rtx experiments`."""

import sys

from rtx.cli.main import main

raise SystemExit(main(["experiments", *sys.argv[1:]]))
