"""Classification studies as their papers lay them out, from tables of `rtx experiments collect` and `rtx probe`."""
