"""Target data sets: how they are read, checked and rendered, and where corruptions enter their pipelines."""
