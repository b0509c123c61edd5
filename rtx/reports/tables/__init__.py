"""Tables of a report as Markdown, LaTeX and CSV."""
