"""Linear probes: heads on the cached features of a frozen source, in seconds where a training takes hours."""
