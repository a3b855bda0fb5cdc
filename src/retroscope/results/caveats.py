"""How far each method can be trusted, in a sentence or two, with the source."""

from collections.abc import Iterable

BYTE_MAX = 255
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
BOX = (
    "A box reads the maps at its place, and this method weights each map as a whole, so the heat "
    "may lie on other objects; layercam and hirescam keep to the place of the box."
)
LAYERCAM_BY_DEFAULT = (
    "LayerCAM is the default here, since this score depends on the maps near its place; Grad-CAM "
    "averages the gradient over the whole image."
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

UNNORMALISED = (
    "This image is a tensor of values from {lowest:.3g} to {highest:.3g}, but to this network "
    "black is {black:.3g} and white {white:.3g}: {guess}. Give pixels (a path, a PIL image, a "
    "uint8 array or tensor), which are normalised, or normalise it first."
)

PROJECTION_CAVEATS = {
    "deconvnet": PROJECTION,
    "guided": (
        "A guided projection recovers structure and barely depends on the unit (Nie 2018; Sixt "
        "2020): it shows what is in this patch, not why the network predicts a class."
    ),
    "gradient": (
        "The gradient shows where a small change of the patch would move the activation, not what "
        "the activation is made of."
    ),
    "relevance": (
        "A relevance projection shows what in this patch the activation is made of, as far as its "
        "rules go (Bach 2015; Montavon 2019): not why the network predicts a class."
    ),
    "contrast": (
        "The contrast shows what this unit adds to the other channels at its position, not all "
        "that it needs."
    ),
}
"""The caveat of a projection by each rule book, by its name."""

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
    "explain": (PATCHES_FIRST, BORDER),
}
"""The caveats of each method, by its name."""


def caveats_of(method: str, *, of_box: bool = False) -> tuple[str, ...]:
    """The caveats to show beside a result of this method, maybe for a box of a detector.

    >>> caveats_of("hirescam")
    ('The heat map has the resolution of the layer; smooth edges are interpolated.',)
    """
    caveats = CAVEATS[method]
    weights_whole_maps = UNUSED in caveats or AVERAGED in caveats
    return (BOX, *caveats) if of_box and weights_whole_maps else caveats


def range_caveats(lowest: float, highest: float, *, black: float, white: float) -> tuple[str, ...]:
    """The caveat of a network's input of these extremes, if it is hardly a normalised image.

    `black` and `white` are the extremes that the pixels of images have in the network's input. From
    0 to 1, nothing is normalised.

    >>> range_caveats(-2.0, 2.5, black=-2.1, white=2.6)
    ()
    >>> range_caveats(0, 1, black=-2.1, white=2.6)[0].partition(":")[0][-27:]
    'black is -2.1 and white 2.6'
    """
    if (black, white) == (0, 1) or not 0 <= lowest < highest <= BYTE_MAX:
        return ()
    if highest <= 1:
        guess = "it was probably scaled to 0-1 and not normalised"
    elif highest > 2 * white - black:
        guess = "it probably has pixels from 0 to 255"
    else:
        return ()
    facts = {"lowest": lowest, "highest": highest, "black": black, "white": white}
    return (UNNORMALISED.format(**facts, guess=guess),)


def projection_caveats(rules: Iterable[str]) -> tuple[str, ...]:
    """The caveats of projections by these rule books; none for a rule book of the user's own.

    >>> projection_caveats(["contrast", "contrast", "mine"]) == (PROJECTION_CAVEATS["contrast"],)
    True
    """
    return tuple(
        PROJECTION_CAVEATS[name] for name in dict.fromkeys(rules) if name in PROJECTION_CAVEATS
    )
