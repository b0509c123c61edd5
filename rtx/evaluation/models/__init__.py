"""What is evaluated: an OpenMMLab model from a checkpoint, a function, a torch module, a source classifier."""
