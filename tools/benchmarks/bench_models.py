"""What `--model` adds to a library's own loop over the same images, in processor time, by turns.

    OMP_NUM_THREADS=1 python tools/benchmarks/bench_models.py --data data/coco --images 20 --repeats 3

For each library that is installed, a detector with random weights: the library's loop opens an image with Pillow, and
prepares, predicts and post-processes as its own evaluation does; rtx's does the same through its data set, the preset
and the scorer, up to the predictions that are kept for scoring. Image by image they take turns. `ratio` is the median
over the repeats of rtx's processor time over the library's, over all images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rtx.evaluation.evaluate import prepare
from rtx.evaluation.models.presets import open_model

NAMES = [f"class {n}" for n in range(80)]
Loop = Callable[[Path], Any]


def torchvision_loop(folder: Path) -> tuple[str, dict[str, Any], Loop]:
    """Faster R-CNN on MobileNetV3 at 320 pixels: the smaller the network, the more what is around it shows."""
    from torchvision import models
    from torchvision.transforms.functional import to_tensor

    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=81).eval()
    torch.save(network.state_dict(), folder / "tv.pth")
    return f"torchvision:{name}", dict(weights=folder / "tv.pth"), lambda path: network([to_tensor(opened(path))])


def transformers_loop(folder: Path) -> tuple[str, dict[str, Any], Loop]:
    """YOLOS-Tiny."""
    import transformers

    shape = dict(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768)
    config = transformers.YolosConfig(
        **shape, image_size=[512, 800], use_mid_position_embeddings=False, id2label=dict(enumerate(NAMES))
    )
    network = transformers.YolosForObjectDetection(config).eval()
    processor = transformers.YolosImageProcessor(size=dict(shortest_edge=512, longest_edge=800))
    network.save_pretrained(folder / "yolos")
    processor.save_pretrained(folder / "yolos")

    def loop(path: Path) -> Any:
        image = opened(path)
        found = network(**processor(images=image, return_tensors="pt"))
        return processor.post_process_object_detection(found, 0.0, [(image.height, image.width)])

    return f"transformers:{folder / 'yolos'}", {}, loop


def libreyolo_loop(folder: Path) -> tuple[str, dict[str, Any], Loop]:
    """YOLOX-Nano, as its `val` runs it."""
    import cv2
    import libreyolo

    model = libreyolo.LibreYOLOX(size="n", nb_classes=80, device="cpu")
    model.names = dict(enumerate(NAMES))
    model.model.eval()
    model.save(str(folder / "yolox.pt"))
    prepared = model._get_val_preprocessor(img_size=416)

    def loop(path: Path) -> Any:
        image = np.ascontiguousarray(np.asarray(opened(path))[..., ::-1])
        height, width = image.shape[:2]
        by = min(416 / height, 416 / width)
        small = cv2.resize(image, (int(width * by), int(height * by)))
        inputs = torch.from_numpy(prepared(small, np.zeros((0, 5)), (416, 416))[0])[None]
        options = dict(conf_thres=0.001, iou_thres=0.6, original_size=(width, height), input_size=416, max_det=300)
        return model._postprocess(model._forward(inputs), **options)

    return f"libreyolo:{folder / 'yolox.pt'}", {}, loop


def detectron2_loop(folder: Path) -> tuple[str, dict[str, Any], Loop]:
    """Faster R-CNN on a ResNet-50 with FPN, at 400 pixels."""
    from detectron2.config import get_cfg
    from detectron2.data.transforms import ResizeShortestEdge
    from detectron2.model_zoo import get_config_file
    from detectron2.modeling import build_model

    cfg = get_cfg()
    cfg.merge_from_file(get_config_file("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "INPUT.MIN_SIZE_TEST", 400, "INPUT.MAX_SIZE_TEST", 666])
    network = build_model(cfg).eval()
    torch.save({"model": network.state_dict()}, folder / "d2.pth")
    (folder / "d2.yaml").write_text(cfg.dump())
    resize = ResizeShortestEdge([400, 400], 666)

    def loop(path: Path) -> Any:
        image = np.asarray(opened(path))[..., ::-1]
        pixels = resize.get_transform(image).apply_image(image)
        tensor = torch.as_tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return network([dict(image=tensor, height=image.shape[0], width=image.shape[1])])

    return f"detectron2:{folder / 'd2.yaml'}", dict(weights=folder / "d2.pth"), loop


LOOPS = dict(
    torchvision=torchvision_loop, transformers=transformers_loop, libreyolo=libreyolo_loop, detectron2=detectron2_loop
)


def opened(path: Path) -> Image.Image:
    """An image as RGB."""
    return Image.open(path).convert("RGB")


def ours(spec: str, data: Path, options: dict[str, Any], folder: Path) -> Callable[[int], None]:
    """The loop of rtx: what a sweep does with image n."""
    own = {} if "classes" in options or spec.partition(":")[0] in ("transformers", "libreyolo") else {"classes": NAMES}
    names = {**own, **options}
    first = json.loads(next(data.glob("annotations/*val*.json")).read_text())["categories"][0]["name"]
    job = prepare(open_model(spec, data, class_map={NAMES[0]: first}, **names), data, folder / "out", workers=0)
    job.scorer.reset()

    def loop(n: int) -> None:
        row = job.dataset[n]
        samples = job.model.test_step({"inputs": [row["inputs"]], "data_samples": [row["data_samples"]]})
        job.scorer.process(samples)

    loop.paths = [Path(job.dataset.get_data_info(n)["img_path"]) for n in range(len(job.dataset))]  # type: ignore[attr-defined]
    loop.reset = job.scorer.reset  # type: ignore[attr-defined]
    return loop


def ratios(name: str, data: Path, images: int, repeats: int) -> Iterator[tuple[float, float]]:
    """Processor seconds an image, of the library and of rtx, for each repeat."""
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        torch.manual_seed(0)
        spec, options, theirs = LOOPS[name](Path(place))
        mine: Any = ours(spec, data, options, Path(place))
        paths = mine.paths[:images]
        theirs(paths[0]), mine(0)
        for _ in range(repeats):
            mine.reset()
            spent = [0.0, 0.0]
            for n, path in enumerate(paths):
                for which in (0, 1) if n % 2 else (1, 0):
                    start = time.process_time()
                    mine(n) if which else theirs(path)
                    spent[which] += time.process_time() - start
            yield spent[0] / len(paths), spent[1] / len(paths)


def main() -> None:
    """Print a row for each library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a COCO folder")
    parser.add_argument("--libraries", nargs="+", choices=LOOPS, default=[name for name in LOOPS if find_spec(name)])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| library | its loop, ms an image | rtx, ms an image | ratio |\n|---|---:|---:|---:|")
    for name in args.libraries:
        rows = list(ratios(name, args.data, args.images, args.repeats))
        first, second = (1000 * statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {first:.1f} | {second:.1f} | {statistics.median(b / a for a, b in rows):.3f} |", flush=True)


if __name__ == "__main__":
    main()
