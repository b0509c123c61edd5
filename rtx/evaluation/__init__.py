"""Scores under corruption: what is evaluated, how it is scored, and how scores become P, mPC and rPC."""
