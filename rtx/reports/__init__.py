"""From finished evaluations to a page, figures and tables. Needs NumPy, Matplotlib and Jinja2, and no PyTorch."""
