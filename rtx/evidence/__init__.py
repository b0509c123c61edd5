"""The papers' claims put to the test on data at hand: what was claimed, what was found, how sure that is."""
