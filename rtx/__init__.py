"""rtx: does the robustness of an ImageNet backbone survive transfer to detection and segmentation?

Importing this package registers nothing and imports no OpenMMLab library; the rooms that do (`rtx.backbones`,
`rtx.transfer`, `rtx.targets`, `rtx.evaluation.loop`) are imported by name, usually by `custom_imports` in a config.
"""

__version__ = "0.1.0"
