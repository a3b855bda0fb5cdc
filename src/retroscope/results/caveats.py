"""What a reader should know of each method's pictures, in a sentence or two, with its source."""

STRUCTURE = (
    "Guided backpropagation recovers the structure of the picture and barely depends on the class "
    "(Nie 2018; Sixt 2020): read it as what is in the picture, not as why this class."
)
RANDOMISED = (
    "Guided methods look much the same when the network's weights are randomised (Adebayo 2018)."
)
PLAIN = "A gradient tells where a small change would move the score, not what made it."
UNUSED = (
    "Grad-CAM can light places that the class score does not use; HiResCAM does not (Draelos 2020)."
)
AVERAGED = (
    "As Grad-CAM, it weighs each map as a whole and can light places that the class score does "
    "not use (Draelos 2020)."
)
COARSE = "Its grain is that of the layer: what looks smooth was interpolated."
CLASSLESS = "It shows what the layer as a whole responds to, the same for every class."
MASKED = (
    "Its weights come from masked pictures and emptied maps that the network has never been "
    "trained on."
)
PRODUCT = "Where the picture's numbers are zero, such as the mean colour, it is blind."
BASELINE = "It explains the difference to a black picture; another baseline gives another map."
OCCLUDER = (
    "It depends on the size and colour of the occluder, and evidence that stands in two places is "
    "not missed when one is covered (Zeiler & Fergus 2014, 4.2)."
)
PATCHES_FIRST = (
    "Natural patches explain a unit better than synthetic pictures (Borowski 2021): look at the "
    "patch first, its projection beside it."
)
PROJECTION = (
    "A deconvnet projection recovers structure and hardly depends on the layers above (Mahendran & "
    "Vedaldi 2016): read it as what in this patch, never as why this class."
)

CAVEATS: dict[str, tuple[str, ...]] = {
    "gradient": (PLAIN,),
    "smoothgrad": (PLAIN, "The noise is averaged out of it, and with it what is small."),
    "guided": (STRUCTURE, RANDOMISED),
    "input_x_gradient": (PLAIN, PRODUCT),
    "integrated": (BASELINE, PRODUCT.replace("zero, such as the mean colour", "as the baseline's")),
    "gradcam": (UNUSED, COARSE),
    "gradcam++": (AVERAGED, COARSE),
    "xgradcam": (AVERAGED, COARSE),
    "hirescam": (COARSE,),
    "layercam": (
        "It shows where the maps and their positive gradients meet, which need not add up to "
        "the score.",
        COARSE,
    ),
    "eigencam": (CLASSLESS, COARSE),
    "scorecam": (MASKED, AVERAGED),
    "ablationcam": (MASKED, AVERAGED),
    "guided-gradcam": (RANDOMISED, UNUSED),
    "occlusion": (OCCLUDER,),
    "explain": (PATCHES_FIRST, PROJECTION),
}
"""The sentences that apply, by the method's name."""


def caveats_of(method: str) -> tuple[str, ...]:
    """What is to be said beside a picture of this method.

    >>> caveats_of("hirescam")
    ('Its grain is that of the layer: what looks smooth was interpolated.',)
    """
    return CAVEATS[method]
