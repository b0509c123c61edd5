"""Libraries beside OpenMMLab that train with rtx's backbones; each is imported in its own file and nowhere else."""
