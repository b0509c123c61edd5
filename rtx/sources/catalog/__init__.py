"""Source weights and architectures, one row each. Nothing here imports torch."""
