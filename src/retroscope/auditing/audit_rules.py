"""The rules of an audit, as a table: what each finds, when it raises it, what would disprove it."""

from collections.abc import Callable
from dataclasses import dataclass

from retroscope.auditing import (
    channel_rules,
    duplicate_rule,
    filter_rules,
    map_places,
    shortcut_rules,
    shortcuts,
)
from retroscope.auditing.layer_evidence import AtlasEvidence
from retroscope.auditing.rule_outcome import RuleOutcome
from retroscope.render.captions import RARE, percent
from retroscope.results.audits import Severity


@dataclass(frozen=True)
class AuditRule:
    """One rule. `find` applies it to an atlas; the texts stand beside each finding."""

    name: str
    severity: Severity
    title: str
    find: Callable[[AtlasEvidence], RuleOutcome]
    meaning: str
    threshold: str
    disproof: str


_ONE_CLASS_ONE_PLACE = (
    "at least 8 of the 9 strongest hits are of one class and in one block of a "
    f"{map_places.BLOCKS}th of the map's height and width near the border, or in the frame; the "
    f"chance that any channel does so is below {shortcuts.ALPHA:g} for the class, and for the "
    f"place; fewer than {percent(shortcuts.MAX_LOCAL)} of the units of mixed classes in the layer "
    "keep to such a place"
)

RULES: tuple[AuditRule, ...] = (
    AuditRule(
        "shortcut-units",
        Severity.HIGH,
        "units that respond to one class through one place",
        shortcut_rules.find_shortcuts,
        meaning="The images of the class share something at this place, such as a watermark, a "
        "date or a frame, that the network may use instead of the object.",
        threshold=f"{_ONE_CLASS_ONE_PLACE}; the stored images of the class are more alike there "
        f"than those of each of up to {shortcut_rules.OTHER_CLASSES} other classes without such "
        "units",
        disproof="Cover the place in images of the class, or paste it into images of others: if "
        "the units and the probability of the class hardly change, the network does not use it. "
        "If the plates show the object itself, which happens to be there, it is no shortcut.",
    ),
    AuditRule(
        "shortcut-classes",
        Severity.HIGH,
        "classes that rest on one place",
        shortcut_rules.find_shortcut_classes,
        meaning="The units that distinguish the class best are shortcut units, so the network may "
        "recognise the class by that place alone.",
        threshold=f"at least {shortcut_rules.MIN_SHORTCUTS} of the {shortcut_rules.STRONGEST} "
        "units of a layer that are most specific for the class, among those that fire in half of "
        "its images, are shortcut units",
        disproof="Classify images of the class without that place: if their probability stays, "
        "other units carry the class.",
    ),
    AuditRule(
        "non-finite",
        Severity.MEDIUM,
        "channels with NaN or infinite values",
        channel_rules.find_non_finite,
        meaning="Everything computed from these values is not finite either.",
        threshold="any position of any image has such a value",
        disproof="Scan again at full precision: values that overflow at half precision are finite "
        "then.",
    ),
    AuditRule(
        "saturated",
        Severity.MEDIUM,
        "channels that reach their limit",
        channel_rules.find_saturated,
        meaning="After a rectifier with a limit, such as ReLU6, all images at the limit are equal. "
        "The plate of the channel shows those that come first in the list.",
        threshold=f"all hits, at least {channel_rules.MIN_TIES}, have exactly the highest value of "
        "the layer, which another channel reaches too, and at least "
        f"{percent(channel_rules.MANY)} of the images are in its bin of the histogram",
        disproof="Scan the layer before the rectifier: if its maxima there are hardly above the "
        "limit, little is lost.",
    ),
    AuditRule(
        "dead",
        Severity.MEDIUM,
        "dead channels",
        channel_rules.find_dead,
        meaning="A channel that never fires gives nothing to the layers above.",
        threshold="no image has a value above zero; in a layer with negative values, if all values "
        "are equal",
        disproof="One image in which it fires. It may still fire in up to `highest_rate` of images "
        "like the scanned ones (95 % confidence).",
    ),
    AuditRule(
        "noise-filters",
        Severity.MEDIUM,
        "filters of the first layer that are noise",
        filter_rules.find_noise_filters,
        meaning="The filter has no structure: it was hardly trained, or learned noise.",
        threshold="the highest peak of the filter's spectrum is reached by more than "
        f"{percent(filter_rules.ALPHA)} of {filter_rules.SHUFFLES} versions with shuffled pixels",
        disproof="A filter trained for longer, or with more weight decay, that gets structure. A "
        "single bright pixel is structure that this test does not see.",
    ),
    AuditRule(
        "place-bound-units",
        Severity.LOW,
        "units of one class and one place, without a common mark",
        shortcut_rules.find_place_bound,
        meaning="The unit responds to one class at one place of the border, but the images of the "
        "class are not alike there: a part of the object that happens to lie there, a background, "
        "or a mark that only some images have.",
        threshold=f"{_ONE_CLASS_ONE_PLACE}; the stored images of the class are not more alike "
        "there than those of other classes, or too few are stored",
        disproof="If the plates show the object itself, it is no shortcut. If they show a mark, "
        "cover it: the activation stays if the unit does not need it.",
    ),
    AuditRule(
        "duplicates",
        Severity.LOW,
        "duplicate channels",
        duplicate_rule.find_duplicates,
        meaning="Channels of one layer that differ only by a scale do the work of one.",
        threshold=f"all hits, at least {duplicate_rule.MIN_HITS}, have the same images and "
        "positions; the counts are equal; scores, mean and deviation have the same ratio within "
        f"{percent(duplicate_rule.TOLERANCE)}",
        disproof="An image in which their activations have another ratio, or weights that are not "
        "parallel.",
    ),
    AuditRule(
        "nearly-dead",
        Severity.LOW,
        "nearly dead channels",
        channel_rules.find_nearly_dead,
        meaning="A channel that fires in so few images can hardly matter to any class.",
        threshold="the upper end of the 95 % interval of the share of images in which it fires is "
        f"below {percent(RARE)}, and below half the share of a class of average size",
        disproof="Images of a kind that the scan lacks, in which it fires often.",
    ),
    AuditRule(
        "aliased-filters",
        Severity.LOW,
        "filters of the first layer that alias",
        filter_rules.find_aliased_filters,
        meaning="Detail that is finer than the stride appears as coarser patterns: shifting the "
        "image by one pixel changes the map.",
        threshold=f"more than {percent(filter_rules.ALIASED)} of the filter's response is above "
        "half a cycle for each step of the stride, by the spectrum of up to "
        f"{filter_rules.SPECTRUM_IMAGES} stored images; if none is stored, by one whose power "
        "falls with the square of the frequency",
        disproof="Maps that shift with the image: compare those of an image and of the same image "
        "moved by one pixel.",
    ),
)
"""The most severe first. A new rule is a new row."""
