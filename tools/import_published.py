#!/usr/bin/env python3
"""The same as `rtx import_published`."""

from rtx.cli.main import entry

if __name__ == "__main__":
    entry("import_published")
