#!/usr/bin/env python3
"""The same as `rtx visualise`."""

from rtx.cli.main import entry

if __name__ == "__main__":
    entry("visualise")
