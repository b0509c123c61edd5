#!/usr/bin/env python3
"""The same as `rtx imagenet_c`."""

from rtx.cli.main import entry

if __name__ == "__main__":
    entry("imagenet_c")
