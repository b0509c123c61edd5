"""One module a figure; each takes a group of runs and returns a Matplotlib figure whose title says its point."""
