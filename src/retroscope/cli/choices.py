"""Names that options accept, listed without importing torch.

The tables that the library looks these names up in are elsewhere; a test compares them.
"""

DEVICES = ("auto", "cpu", "cuda", "mps")
RESIZES = ("network", "stretch", "crop", "whole", "letterbox")
RULE_BOOKS = ("deconvnet", "relevance", "contrast", "guided", "gradient")
RULES = ("auto", *RULE_BOOKS)
SALIENCY_METHODS = ("gradient", "smoothgrad", "guided", "input_x_gradient", "integrated")
CAM_METHODS = (
    "auto",
    *("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam"),
    *("eigencam", "scorecam", "ablationcam", "guided-gradcam"),
)
FILLS = ("grey", "mean", "blur")
"""An occluder may also have a number as its fill."""
RECIPES = ("zoom", "olah", "maco", "yosinski", "octaves", "plain")
PRECISIONS = ("full", "bf16")
CLASS_FOLDERS = ("first", "last", "all")
RANKINGS = ("max", "mean", "min", "sample")
RANKS = ("auto", "all", "max", "none")
"""Hits that get a projection; a number of hits per channel is accepted too."""
ILLUSTRATION_METHODS = ("deconv", "synthesize")
SCORES = ("faithfulness", "dependence", "patch", "mis", "monosemanticity", "dissection")
TONES = ("robust", "tile", "percentile", "gamma")
VIEWS = ("projection", "lit")
COLOURS = ("inferno", "magma", "viridis", "jet")
