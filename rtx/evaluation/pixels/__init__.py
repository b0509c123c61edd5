"""Where the pixels of a condition come from: corrupted here, or stored files."""
