"""Train a small YOLO on crowds of the world, and measure where heat lies at each of its layers.

    python -m tools.yolo_layers docs/localisation.md WEIGHTS

Trains into the file WEIGHTS unless it is there, which takes about five minutes on one core. Writes
the table of layers between the marks in the page. Needs the extra `yolo`.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools.accountability import report, table, update
from tools.localisation import (
    MIN_OVERLAP,
    FoundObject,
    cell,
    crowds,
    score,
    visible_objects,
)
from tools.localiser_scores import box_overlaps

import retroscope as rs
from retroscope.methods.observation import observe, top_predictions
from retroscope.world import LABELS, Scene, scene
from retroscope.zoo.demo_localisers import LOCALISER_SIZE

MAKER, TABLE = "tools/yolo_layers.py", "layers of YOLO"
NAME = f"ultralytics/yolov8n?nc={len(LABELS)}"
FIRST_SEED, TRAINING_SCENES, STEPS, BATCH, RATE = 10**9, 3000, 600, 12, 2e-3
SCENES = 20
LAYERS = ("model.4", "model.6", "model.9", "model.12", "model.15")
METHODS = ("gradcam", "hirescam", "layercam")
HEADINGS = ["layer", "size", "method", "in the box", "in the mask", "hit", "own object"]


def main() -> None:
    """Train if needed, and write the table into the page."""
    page, weights = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    net = rs.open_model(NAME, random_weights=0, device="cpu", input_size=LOCALISER_SIZE)
    if not weights.exists():
        train(net.module)
        torch.save(net.module.state_dict(), weights)
    net.module.load_state_dict(torch.load(weights))
    net = rs.Network(net.module.eval(), fit=net.preprocessing.fit, labels=LABELS, name="yolo")
    found = (list(detected_objects(net, painted)) for painted in crowds())
    scenes = list(islice((objects for objects in found if len(objects) > 1), SCENES))
    text = update(page.read_text("utf-8"), {TABLE: layers_table(net, scenes)}, maker=MAKER)
    page.write_text(text, "utf-8")


# Training


def train(module: torch.nn.Module) -> None:
    """With the loss of ultralytics, on scenes of one to three objects, mirrored at random."""
    from ultralytics.cfg import get_cfg

    network: Any = module.train().requires_grad_()
    network.args = get_cfg(overrides={"box": 7.5, "cls": 0.5, "dfl": 1.5})
    network.get_submodule("model.22.dfl").requires_grad_(False)
    scenes = [
        scene(FIRST_SEED + number, objects=1 + number % 3, size=LOCALISER_SIZE)
        for number in range(TRAINING_SCENES)
    ]
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        rows = torch.randint(len(scenes), (BATCH,), generator=generator).tolist()
        mirrored = (torch.rand(BATCH, generator=generator) < 0.5).tolist()
        losses, _ = network.loss(batch_of([scenes[row] for row in rows], mirrored))
        optimiser.zero_grad()
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10)
        optimiser.step()
        schedule.step()
        report(f"step {step + 1} of {STEPS}: {float(losses.detach().sum()) / BATCH:.2f}")


def batch_of(scenes: Sequence[Scene], mirrored: Sequence[bool]) -> dict[str, torch.Tensor]:
    """Images and boxes as the loss takes them: centres and sizes, as shares of the side."""
    images = [torch.from_numpy(painted.pixels.copy()).permute(2, 0, 1) for painted in scenes]
    flipped = [
        image.flip(2) if flip else image for image, flip in zip(images, mirrored, strict=True)
    ]
    rows = [
        (number, LABELS.index(item.label), *centred(item.box, mirror=flip))
        for number, (painted, flip) in enumerate(zip(scenes, mirrored, strict=True))
        for item in painted.objects
    ]
    facts = torch.tensor(rows, dtype=torch.float32)
    return {
        "img": torch.stack(flipped).float() / 255,
        "batch_idx": facts[:, 0],
        "cls": facts[:, 1:2],
        "bboxes": facts[:, 2:],
    }


def centred(box: rs.Box, *, mirror: bool) -> tuple[float, float, float, float]:
    """The centre, x first, and the width and height of a box, as shares of the side."""
    x = (box.left + box.right) / 2 / LOCALISER_SIZE
    y = (box.top + box.bottom) / 2 / LOCALISER_SIZE
    return 1 - x if mirror else x, y, box.width / LOCALISER_SIZE, box.height / LOCALISER_SIZE


# Measurement


def detected_objects(net: rs.Network, painted: Scene) -> Iterator[FoundObject]:
    """The objects whose class and box the detector gets right."""
    output = observe(net, net.prepare(painted.pixels), []).output
    targets = [prediction.target for prediction in top_predictions(output, 30)]
    for item in visible_objects(painted):
        box = item.box
        corners = np.array([[box.left, box.top, box.right, box.bottom]], float)
        for rank, target in enumerate(targets, 1):
            assert target.box is not None
            top, left, bottom, right = target.box
            overlap = box_overlaps(np.array([[left, top, right, bottom]]), corners)[0, 0]
            if target.label == item.label and overlap >= MIN_OVERLAP:
                yield FoundObject(painted, item, f"box:{rank}", rs.Unit(LAYERS[0]))
                break


def layers_table(net: rs.Network, scenes: Sequence[Sequence[FoundObject]]) -> str:
    report(f"{sum(map(len, scenes))} objects in {len(scenes)} scenes")
    rows = []
    for layer in LAYERS:
        height, width = net.layer(layer).size
        for method in METHODS:
            scores = np.array([mean_scores(net, objects, layer, method) for objects in scenes])
            rows.append([layer, f"{height}x{width}", method, *map(cell, scores.T)])
            report(" ".join(rows[-1]))
    return table(HEADINGS, rows)


def mean_scores(
    net: rs.Network, objects: Sequence[FoundObject], layer: str, method: str
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The scores of the heat of each object of a scene, as means."""
    heats = [
        rs.cam(net, found.pixels, method=method, layer=layer, target=found.target)
        for found in objects
    ]
    pairs = zip(heats, objects, strict=True)
    means: np.ndarray[Any, np.dtype[np.float64]] = np.nanmean(
        [score(np.asarray(heat.full()), found) for heat, found in pairs], axis=0
    )
    return means


if __name__ == "__main__":
    main()
