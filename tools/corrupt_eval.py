#!/usr/bin/env python3
"""The same as `rtx corrupt_eval`."""

from rtx.cli.main import entry

if __name__ == "__main__":
    entry("corrupt_eval")
