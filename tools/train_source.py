#!/usr/bin/env python3
"""The same as `rtx train_source`."""

from rtx.cli.main import entry

if __name__ == "__main__":
    entry("train_source")
