"""Whether a method's heat maps show what the network uses: protocols with known answers.

The protocols of FunnyBirds (Hesse et al. 2023) on the painted world, and the randomisation of
weights from the top (Adebayo et al. 2018).
"""

from retroscope.accountability.part_removals import PartRemovals, removable_scenes, remove_parts
from retroscope.accountability.protocol_scores import ProtocolScore, hold_to_account
from retroscope.accountability.weight_randomisation import map_similarity, randomise_from_top

__all__ = [
    "PartRemovals",
    "ProtocolScore",
    "hold_to_account",
    "map_similarity",
    "randomise_from_top",
    "removable_scenes",
    "remove_parts",
]
