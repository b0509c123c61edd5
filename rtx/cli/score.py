"""`rtx score PREDICTIONS`: P, mPC and rPC of predictions that lie on disk, without a model.

For predictions made elsewhere on an exported corrupted set, and for those that an evaluation kept. PREDICTIONS holds
one entry for each condition: clean, fog_1 ... (or fog/1 ...), each a COCO result file or a folder of label maps. With
--coco, result files (.json) and rtx's own (.npz) are scored; with --yolo and --cityscapes too (an image's id is its
file name, a number where it is one; class n of data.yaml is category n + 1, Cityscapes has its own ids); with --labels,
label maps (.png) and rtx's own (.zip);
with --voc, VOC's own result files (comp4_det_test_car.txt, boxes from 1), rtx's own (.npz), and .json lists of
image_id, category (a name), bbox (left, top, width, height from 0) and score; with --class-folders, rtx's own (.npz)
and .csv files of image (its class folder and name), then the classes from the most likely one on.

Predictions that lie in the evaluation that kept them (RUN/predictions) are scored under its protocol card, where the
ground truth is that of the evaluation; of others the card says "unstated". With --exported, every file of the exported
set is compared with its manifest first, and must cover the ground truth.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rtx.errors import BadValue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("predictions", help="folder with one entry for each condition")
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--coco", metavar="FILE", help="COCO annotation file of the evaluated images")
    truth.add_argument("--yolo", metavar="DIR", help="folder with data.yaml, whose val images were evaluated")
    truth.add_argument("--cityscapes", metavar="DIR", help="folder of leftImg8bit and gtFine, val was evaluated")
    truth.add_argument("--labels", metavar="DIR", help="folder of label maps of the evaluated images")
    truth.add_argument("--voc", metavar="DIR", help="VOC folder of the evaluated images (VOCdevkit, VOC2007)")
    truth.add_argument("--class-folders", metavar="DIR", help="class folders of the evaluated images")
    parser.add_argument("--out", required=True, help="output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace scores of other predictions in --out")
    parser.add_argument(
        "--kinds", nargs="+", choices=("bbox", "segm"), help="with --coco, --yolo, --cityscapes: what is scored"
    )
    parser.add_argument("--maps", action="store_true", help="with --cityscapes: score label maps of the 19 train ids")
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="with --coco, --yolo, --voc: the classes that count; with --class-folders: all classes of the model",
    )
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="with --voc: name of the split file; test, else val. With --yolo, --cityscapes: val",
    )
    parser.add_argument(
        "--headline", metavar="NAME", default="AP50_07", help="with --voc: AP50_07 (default), AP50_area, AP_d2, AP_coco"
    )
    parser.add_argument(
        "--max-detections", type=int, default=100, help="with --coco, --yolo, --cityscapes: of a class in an image"
    )
    parser.add_argument("--n-classes", type=int, metavar="N", help="with --labels: how many classes there are")
    parser.add_argument("--ignore-index", type=int, default=255, help="with --labels: the label that does not count")
    parser.add_argument(
        "--reduce-zero-label", action="store_true", help="with --labels: 0 and 255 do not count, class n is n + 1"
    )
    parser.add_argument("--exported", metavar="DIR", help="the set that rtx corrupt wrote, for the protocol card")
    parser.add_argument("--skip-hashes", action="store_true", help="with --exported: do not read the exported files")
    parser.add_argument("--resamples", type=int, default=1000, help="resamplings of the intervals; 0 for none")


def run(args: argparse.Namespace) -> int:
    """Score, write and print the table."""
    from rtx.cli.corrupt_eval import show_result
    from rtx.datasets.annotated import read_annotated
    from rtx.datasets.layout import data_name
    from rtx.evaluation.offline.classification import ClassTruth
    from rtx.evaluation.offline.score import check_exported, exported_settings, find_predictions, score_predictions
    from rtx.evaluation.offline.truth import CocoFile, LabelFolder, Truth, cityscapes_maps
    from rtx.evaluation.offline.voc import VocFolder

    truth: Truth
    boxes = dict(kinds=args.kinds, classes=args.classes, max_detections=args.max_detections)
    if args.maps and not args.cityscapes:
        raise BadValue("--maps goes with --cityscapes; label maps of other data are scored with --labels DIR")
    if args.maps:
        truth = cityscapes_maps(Path(args.cityscapes), args.split or "val")
    elif args.coco:
        truth = CocoFile(Path(args.coco), **boxes)
    elif args.yolo or args.cityscapes:
        layout = "yolo" if args.yolo else "cityscapes"
        annotated = read_annotated(Path(args.yolo or args.cityscapes), layout, args.split or "val")
        for note in annotated.notes:
            print(f"note: {note}", file=sys.stderr)
        truth = CocoFile(annotated, **boxes)
    elif args.voc:
        truth = VocFolder(Path(args.voc), split=args.split, classes=args.classes, headline=args.headline)
    elif args.class_folders:
        truth = ClassTruth(Path(args.class_folders), classes=args.classes)
    else:
        if args.n_classes is None:
            raise BadValue("--labels needs --n-classes: label maps do not say how many classes there are")
        zero = {"reduce_zero_label": args.reduce_zero_label}
        truth = LabelFolder(Path(args.labels), args.n_classes, ignore_index=args.ignore_index, **zero)
    out = Path(args.out)
    stated = None
    if args.exported:
        stated = exported_settings(Path(args.exported))
        found = find_predictions(Path(args.predictions), truth.suffixes)
        check_exported(Path(args.exported), found, truth.names, hashes=not args.skip_hashes)
    data = data_name(args.coco or args.yolo or args.cityscapes or args.voc or args.class_folders or args.labels)
    options = dict(stated=stated, data=data, overwrite=args.overwrite, resamples=args.resamples)
    summary = score_predictions(Path(args.predictions), truth, out, **options)
    show_result(out, summary, print)
    return 0
