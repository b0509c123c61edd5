"""The same layouts as edits of an OpenMMLab config, and checks that what a config names is there."""
