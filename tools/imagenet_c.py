#!/usr/bin/env python3
"""The same as `rtx imagenet_c`."""

from rtx.cli.main import entry

entry("imagenet_c")
