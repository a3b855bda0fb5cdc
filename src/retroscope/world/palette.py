"""Colour palettes: red, green and blue from 0 to 1."""

from retroscope.world.seeded_random import SeededRandom

Colour = tuple[float, float, float]


def rgb(code: str) -> Colour:
    """Parse six hexadecimal digits.

    >>> rgb("ff0033")
    (1.0, 0.0, 0.2)
    """
    red, green, blue = bytes.fromhex(code)
    return red / 255, green / 255, blue / 255


def _table(codes: str) -> tuple[Colour, ...]:
    return tuple(map(rgb, codes.split()))


PAINT = _table(
    "c8453a d9763a e3a73c 5d8f5a 3f7f8c 3d6ea5 6b5b95 b0527a d8d2c4 8c2f39 2f4858 7fa99b"
)
"""For lacquer and cloth."""
PASTEL = _table("f2d7c9 f4e3b8 d3e4cd c7dde8 d9cfe6 efd2dc e9e4da cfd8c4")
SKIN = _table("f3cfb0 e8b793 d39b72 b57a52 8d5a3b 6b432e")
HAIR = _table("2b201c 4a2f22 7a4a2a b5793c d9b265 8d8580 a5452c")
FUR = _table("b87a44 8a8580 4d4744 d8b183 c9c2b8 a05c34 6e5a4c")
WALL = _table("efe3cc e6cdb0 d8d5ce c4d2d6 e8c9b5 c98f6f dcd8b8 b9c4ae")
ROOF = _table("a84a3a 8a3e34 5f5a63 7a5240 465a6b b3653f")
WOOD = _table("8a5a34 6f4526 a9743f 5a3b28 b98a56")
METAL = _table("b9bec4 8f979f d8dbde 6f7880 c2a95c")
LEAF = _table("4f7d3a 6a9445 3c6b45 86a84a 5b8a5e 9aa33f")
AUTUMN = _table("c9772f b9502f d1a03a 8f8f3d")
PETAL = _table("e05a6d f0b23e f4f0e6 b05fb0 e8834a 6f7fd0 f2a5b8 d43f3f")
SKY = (
    ("8fb8dc", "e8eef0"),
    ("6f9fd0", "cfe3ee"),
    ("a9c3d6", "f4dfc4"),
    ("7f8fae", "f0c2a0"),
    ("b8c4cc", "dfe2e0"),
    ("5f8fb4", "b8dbd8"),
)
GROUND = _table("7d9a56 93a661 c9b184 a89c8c 8fa07a b59a72 d5d8da")
GLASS = _table("7fa7bf 5f8aa6 93b8c4 4a6b86 e8cf86")
WHITE, BLACK = rgb("f7f4ee"), rgb("1d1a1e")


def shade(colour: Colour, factor: float) -> Colour:
    """Multiply a colour by a factor, clipped at 1.

    >>> shade((0.2, 0.4, 0.8), 0.5)
    (0.1, 0.2, 0.4)
    """
    red, green, blue = (min(level * factor, 1.0) for level in colour)
    return red, green, blue


def mix(colour: Colour, addition: Colour, share: float) -> Colour:
    """Replace this share of a colour by another."""
    red, green, blue = (a + (b - a) * share for a, b in zip(colour, addition, strict=True))
    return red, green, blue


def pick_colour(table: tuple[Colour, ...], random: SeededRandom) -> Colour:
    """Pick a colour from a table, and vary its brightness and tint."""
    red, green, blue = shade(random.choice(table), random.uniform(0.88, 1.1))
    tint = random.uniform(-0.03, 0.03)
    return min(max(red + tint, 0), 1.0), green, min(max(blue - tint, 0), 1.0)
