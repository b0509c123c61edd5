"""Integer and vector arithmetic that several corruptions share."""
