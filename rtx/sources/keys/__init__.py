"""State-dict layouts of other libraries: one key map each."""
