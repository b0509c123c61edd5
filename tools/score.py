#!/usr/bin/env python3
"""The same as `rtx score`."""

from rtx.cli.main import entry

entry("score")
