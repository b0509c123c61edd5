"""Images that a unit of a network answers to most, and images that a representation stands for."""
