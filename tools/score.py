#!/usr/bin/env python3
"""The same as `rtx score`."""

import sys

from rtx.cli.main import main

raise SystemExit(main(["score", *sys.argv[1:]]))
