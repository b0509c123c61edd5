"""Example images with predictions."""
