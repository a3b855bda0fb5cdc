"""The families of networks: torchvision's, timm's, segmenters, and those written here."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from tools.coverage import (  # noqa: F401 - importing them registers the sketches
    sketches_code,
    sketches_gates,
    sketches_habits,
    sketches_hidden,
    sketches_networks,
    sketches_positions,
    sketches_resizing,
)
from tools.coverage.sketches import GROUPS, SKETCHES
from tools.coverage.subject import SIZES, Case, Size
from torch import nn

import retroscope as rs
from retroscope.zoo.ultralytics_models import unchanged_process

SKETCH_SIZE = (24, 20)


def all_cases() -> list[Case]:
    """Every network of every family that is installed: the first of each group, then the second."""
    families = sketch_cases, torchvision_cases, timm_cases, segmentation_cases, yolo_cases
    turns: Counter[tuple[str, str]] = Counter()

    def turn(case: Case) -> int:
        turns[case.family, case.group] += 1
        return turns[case.family, case.group]

    return sorted((case for family in families for case in family()), key=turn)


def sketch_cases() -> Iterator[Case]:
    """The networks written for this tool."""
    for name, build in SKETCHES.items():
        channels = 1 if name == "input_grey" else 3
        is_plain = name.startswith(("tokens", "attention", "resize", "rectifier", "unet"))
        build_any = partial(_ignore_size, build)
        yield Case(
            "sketch",
            name,
            build_any,
            (SKETCH_SIZE,),
            channels=channels,
            has_plain_slopes=is_plain,
            group=GROUPS[name],
        )


def _ignore_size(build: Callable[[], nn.Module], _size: Size) -> nn.Module:
    return build()


TORCHVISION_SIZES: dict[str, tuple[Size, ...]] = {
    "detection": ((128, 128),),
    "quantized": ((64, 64), (96, 96), (224, 224)),
    "optical flow": ((128, 128),),
    "video": ((8, 64, 64), (16, 224, 224)),
}
"""Of a family that takes no other; of clips, the frames come first."""


def torchvision_cases() -> Iterator[Case]:
    """Every registered builder of torchvision, with random weights."""
    import torchvision

    homes = {
        "torchvision": torchvision.models,
        "segmentation": torchvision.models.segmentation,
        "detection": torchvision.models.detection,
        "quantized": torchvision.models.quantization,
        "video": torchvision.models.video,
        "optical flow": torchvision.models.optical_flow,
    }
    for family, home in homes.items():
        family_sizes = TORCHVISION_SIZES.get(family, SIZES)
        inputs = ("image1", "image2") if family == "optical flow" else ()
        for name in sorted(torchvision.models.list_models(module=home), key=_declared_size):
            group = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
            build = partial(_build_torchvision, family, name)
            sizes = ((56, 56),) if name == "vit_h_14" else family_sizes  # patches of 14 pixels
            yield Case(family, name, build, sizes, group=group, inputs=inputs)


def _build_torchvision(family: str, name: str, size: Size) -> nn.Module:
    import torchvision

    options: dict[str, Any] = {"weights": None}
    if name in {"googlenet", "inception_v3"} or "googlenet" in name or "inception" in name:
        options["init_weights"] = False
    if family in {"segmentation", "detection"}:
        options["weights_backbone"] = None
    if family == "quantized":
        options["quantize"] = True
    if family == "detection" and "ssd" not in name:
        options |= {"min_size": size[0], "max_size": size[0]}
    if "rcnn" in name:  # with random weights, no box is above the usual threshold
        options |= {"rpn_post_nms_top_n_test": 8, "box_score_thresh": 0.0}
    elif family == "detection":
        options |= {"topk_candidates": 8, "detections_per_img": 8, "score_thresh": 0.0}
    if name.startswith("vit_"):
        options["image_size"] = size[0]
    module: nn.Module = torchvision.models.get_model(name, **options)
    return module


TRANSFORMERS = (
    *("vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "vit_base_patch16_siglip_224"),
    *("deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"),
    *("beit_base_patch16_224", "beitv2_base_patch16_224", "eva02_tiny_patch14_224"),
    *("vit_small_patch16_rope_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
    *("swin_s3_tiny_224", "cait_xxs24_224", "xcit_nano_12_p16_224", "xcit_tiny_12_p8_224"),
    *("vit_tiny_r_s16_p8_224", "vit_small_r26_s32_224", "vit_base_r50_s16_224"),
)
"""Transformers of timm and hybrids with convolutions that are always among its networks."""
TOO_LARGE = re.compile("_5b_|_1b_|enormous|giant|412m|_large_|_huge_|_plus|_xxl")
"""Large networks of timm. Their modules have smaller ones, but for one of 412 million weights."""


def timm_cases() -> Iterator[Case]:
    """At least one network of each module of timm, and its variants."""
    try:
        import timm
    except ImportError:
        return
    by_module: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models():
        by_module[timm.models._registry._model_to_module[name]].append(name)  # noqa: SLF001
    for module, names in by_module.items():
        chosen = _choose([name for name in names if not TOO_LARGE.search(name)])
        for name in dict.fromkeys([*chosen, *(name for name in TRANSFORMERS if name in names)]):
            yield Case("timm", name, partial(_build_timm, name), _timm_sizes(name), group=module)


def _choose(names: list[str]) -> list[str]:
    """The smallest network of each spelling without its numbers, some of each module."""
    sizes = {name: _declared_size(name) for name in names}
    by_stem: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (sizes[name], len(name), name)):
        by_stem.setdefault(_stem(name), name)
    return list(by_stem.values())[: 7 if len(names) > 40 else 2]


WEIGHTS_OF_WORDS = {
    "atto": 1, "femto": 1, "pico": 1, "zepto": 1, "nano": 2, "xx": 2, "xxs": 2, "xs": 3, "tiny": 3,
    "ti": 3, "s": 4, "small": 4, "lite0": 3, "b0": 3, "t0": 2, "t8": 2, "base": 8, "medium": 8,
    "large": 20, "l": 20, "xl": 30, "xlarge": 30, "huge": 40, "giant": 50, "gigantic": 60,
    "so400m": 40, "g": 50, "e": 50, "h": 40, "m": 8, "b": 8,
}  # fmt: skip


def _declared_size(name: str) -> float:
    """How large a network is, as far as its name says."""
    words = name.split("_")
    digits = [int(word) for word in "".join(c if c.isdigit() else " " for c in name).split()]
    numbers = sum(min(number, 400) for number in digits)
    return sum(WEIGHTS_OF_WORDS.get(word, 5) for word in words) + numbers / 10


def _stem(name: str) -> str:
    """A name without its sizes: what is left names the kind of network."""
    words = "".join(c for c in name if not c.isdigit()).split("_")
    return "_".join(word for word in words if word not in WEIGHTS_OF_WORDS and len(word) > 1)


def _timm_sizes(name: str) -> tuple[Size, ...]:
    import timm

    config = timm.get_pretrained_cfg(name)
    _, height, width = config.input_size if config is not None else (3, 224, 224)
    native = height, width
    if config is not None and config.fixed_input_size:
        return ((64, 64), (56, 56), (128, 128), native)
    return ((64, 64), (96, 96), (128, 128), native)


def _build_timm(name: str, size: Size) -> nn.Module:
    import timm

    config = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": 7}
    if config is not None and config.fixed_input_size and config.input_size[1:] != size:
        options["img_size"] = size
    try:
        module: nn.Module = timm.create_model(name, pretrained=False, **options)
    except TypeError:
        module = timm.create_model(name, pretrained=False)
    return module


DECODERS = (
    *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN"),
    *("DeepLabV3", "DeepLabV3Plus", "UPerNet", "Segformer", "DPT"),
)


def segmentation_cases() -> Iterator[Case]:
    """The decoders of segmentation_models_pytorch, on small encoders."""
    try:
        import segmentation_models_pytorch as smp
    except ImportError:
        return
    for decoder in DECODERS:
        if hasattr(smp, decoder):
            encoder = "tu-vit_tiny_patch16_224" if decoder == "DPT" else "resnet18"
            sizes = ((224, 224),) if decoder == "DPT" else ((64, 64), (128, 128))
            build = partial(_build_decoder, decoder, encoder)
            yield Case("smp", decoder, build, sizes, group=decoder)
    for encoder in ("efficientnet-b0", "mobilenet_v2", "timm-regnetx_002", "densenet121"):
        build = partial(_build_decoder, "Unet", encoder)
        yield Case("smp", f"Unet-{encoder}", build, ((64, 64),), group="Unet")


def _build_decoder(decoder: str, encoder: str, _size: Size) -> nn.Module:
    import segmentation_models_pytorch as smp

    module: nn.Module = getattr(smp, decoder)(encoder, encoder_weights=None, classes=3)
    return module


YOLO_NETWORKS = (
    *("yolov8n", "yolov8n-seg", "yolov8n-pose", "yolov8n-obb", "yolov8n-cls", "yolov5n"),
    *("yolov9t", "yolov10n", "yolo11n", "yolo11n-seg", "yolo12n", "yolo26n"),
)


def yolo_cases() -> Iterator[Case]:
    """Networks of ultralytics with random weights."""
    if find_spec("ultralytics") is None:
        return
    for name in YOLO_NETWORKS:
        build = partial(_build_yolo, name)
        yield Case("ultralytics", name, build, ((64, 64), (128, 128)), group=name.partition("-")[0])


def _build_yolo(name: str, _size: Size) -> nn.Module:
    """A network whose class scores are about a half, so that it finds boxes."""
    with unchanged_process(offline=True):
        from ultralytics import YOLO

        module: nn.Module = YOLO(f"{name}.yaml", verbose=False).model
    for path, part in module.named_modules():
        if re.search(r"\.(one2one_)?cv3\.\d+\.\d+$", path) and isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.bias) if part.bias is not None else None
    return module


def preload() -> None:
    """Imports what the children would import again and again."""
    import torchvision  # noqa: F401

    torch.set_num_threads(1)
    for name in rs.__all__:  # its names are imported when they are used
        getattr(rs, name)
    for package in ("timm", "segmentation_models_pytorch", "ultralytics"):
        try:
            with unchanged_process(offline=True):
                __import__(package)
        except ImportError:
            print(f"{package} is not installed: its family is left out")
