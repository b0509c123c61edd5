"""The commands, one module each: `add_arguments(parser)` and `run(args) -> int`; `rtx.cli.main` finds them by name."""
