#!/usr/bin/env python3
"""The same as `rtx one_pixel`."""

from rtx.cli.main import entry

if __name__ == "__main__":
    entry("one_pixel")
