"""The evaluation folder: its file names, formats, cells, intervals and summaries. Nothing here imports torch."""
