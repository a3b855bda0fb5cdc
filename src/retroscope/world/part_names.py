"""The named parts that scenes are made of, and their numbers in a map of parts."""

PARTS = (
    "head", "eye", "nose", "mouth", "ear", "hair", "beak",
    "body", "wing", "fin", "tail", "leg",
    "wheel", "window", "lamp", "frame", "seat", "chimney",
    "wall", "door", "roof", "gallery",
    "trunk", "crown", "stem", "leaf", "petal", "heart",
    "dial", "hand", "rail", "rung", "canopy", "handle",
    "hull", "mast", "sail", "cup", "steam",
    "watermark",
)  # fmt: skip

NUMBER_OF = {"": 0} | {name: number for number, name in enumerate(PARTS, 1)}
"""The number of a part; 0 is everything that is no part."""
