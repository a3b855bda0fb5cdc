"""How far each method can be trusted, in a sentence or two, with the source."""

STRUCTURE = (
    "Guided backpropagation recovers the structure of the image and barely depends on the class "
    "(Nie 2018; Sixt 2020): it shows what is in the image, not why the network predicts this "
    "class."
)
RANDOMISED = (
    "Guided methods look much the same when the network's weights are randomised (Adebayo 2018)."
)
SENSITIVITY = (
    "A gradient shows where a small change would move the score, not what caused the score."
)
UNUSED = (
    "Grad-CAM can highlight positions that the class score does not use; HiResCAM does not "
    "(Draelos 2020)."
)
AVERAGED = (
    "Like Grad-CAM, this method weights each map as a whole and can highlight positions that the "
    "class score does not use (Draelos 2020)."
)
COARSE = "The heat map has the resolution of the layer; smooth edges are interpolated."
CLASSLESS = "Eigen-CAM shows what the layer as a whole responds to, the same for every class."
MASKED = (
    "The weights come from masked images and zeroed maps, on which the network was never trained."
)
ZERO_INPUT = "The product is zero wherever the input is zero, such as at the mean colour."
BASELINE = (
    "Integrated gradients explain the difference from a black image; another baseline gives "
    "another map. They are zero wherever the image equals the baseline."
)
OCCLUDER = (
    "Occlusion depends on the size and colour of the occluder, and misses evidence that is visible "
    "in two places at once (Zeiler & Fergus 2014, 4.2)."
)
PATCHES_FIRST = (
    "Natural patches explain a unit better than synthetic images (Borowski 2021): look at the "
    "patch first, then at the projection beside it."
)
PROJECTION = (
    "A deconvnet projection recovers structure and barely depends on the layers above (Mahendran & "
    "Vedaldi 2016): it shows what in this patch excites the unit, not why the network predicts a "
    "class."
)
BORDER = (
    "Many units at the border of an image respond to the padding around it. The outermost "
    "positions of a map are left out where their fields reach further out of the image than those "
    "of the next."
)

CAVEATS: dict[str, tuple[str, ...]] = {
    "gradient": (SENSITIVITY,),
    "smoothgrad": (SENSITIVITY, "Averaging removes noise, and with it small details."),
    "guided": (STRUCTURE, RANDOMISED),
    "input_x_gradient": (SENSITIVITY, ZERO_INPUT),
    "integrated": (BASELINE,),
    "gradcam": (UNUSED, COARSE),
    "gradcam++": (AVERAGED, COARSE),
    "xgradcam": (AVERAGED, COARSE),
    "hirescam": (COARSE,),
    "layercam": (
        "LayerCAM shows where the maps and their positive gradients coincide, which need not add "
        "up to the score.",
        COARSE,
    ),
    "eigencam": (CLASSLESS, COARSE),
    "scorecam": (MASKED, AVERAGED),
    "ablationcam": (MASKED, AVERAGED),
    "guided-gradcam": (RANDOMISED, UNUSED),
    "occlusion": (OCCLUDER,),
    "explain": (PATCHES_FIRST, PROJECTION, BORDER),
}
"""The caveats of each method, by its name."""


def caveats_of(method: str) -> tuple[str, ...]:
    """The caveats to show beside a result of this method.

    >>> caveats_of("hirescam")
    ('The heat map has the resolution of the layer; smooth edges are interpolated.',)
    """
    return CAVEATS[method]
