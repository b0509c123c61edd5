"""Influence of training images on test images through the last, linear layer of a classifier, in closed form."""
