#!/usr/bin/env python3
"""The same as `rtx attack_eval`."""

from rtx.cli.main import entry

if __name__ == "__main__":
    entry("attack_eval")
