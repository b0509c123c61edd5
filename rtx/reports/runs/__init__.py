"""Evaluations as a report reads them: runs, groups that may be compared, models, differences."""
