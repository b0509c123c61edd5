#!/usr/bin/env python3
"""The same as `rtx corrupt_eval`."""

import sys

from rtx.cli.main import main

raise SystemExit(main(["corrupt_eval", *sys.argv[1:]]))
