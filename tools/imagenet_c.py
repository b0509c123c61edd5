#!/usr/bin/env python3
"""The same as `rtx imagenet_c`."""

import sys

from rtx.cli.main import main

raise SystemExit(main(["imagenet_c", *sys.argv[1:]]))
