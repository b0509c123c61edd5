"""rtx: does the robustness of an ImageNet backbone survive transfer to detection and segmentation?

Importing this package registers nothing and imports no OpenMMLab library; what does (`rtx.backbones`, `rtx.transfer`,
`rtx.datasets.openmmlab`, `rtx.evaluation`) is imported by name, usually by `custom_imports` in a config.
"""

__version__ = "0.1.0"
