"""Perturbations of an image that a model does not withstand: threats, attacks and the losses that they raise."""
