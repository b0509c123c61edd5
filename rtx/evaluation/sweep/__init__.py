"""The cells of an evaluation: which are missing, who computes them, how images are batched and scored."""
