"""Typefaces: Pillow's built-in face, and system faces for glyphs that it lacks."""

from functools import lru_cache

from PIL import ImageFont

_BUILT_IN_GLYPHS = {chr(code) for code in range(32, 127)} | {"…", "·"}
"""Glyphs of Aileron, the face that comes with Pillow."""
_SYSTEM_FACES = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf"),
    *("arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "DroidSansFallback.ttf"),
    *("wqy-zenhei.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "YuGothR.ttc"),
)
_PROBE_SIZE = 16
_UNASSIGNED = "\U0010ffff"
"""A code point without a glyph in any face; it is drawn as the face's "missing glyph" box."""
_SYSTEM_SCALE = 0.92
"""Size of system faces relative to Aileron; at the same size they look larger."""

Face = str
"""File name of a system face, or `BUILT_IN`."""
BUILT_IN: Face = ""


@lru_cache
def find_face(characters: frozenset[str]) -> Face | None:
    """The first face that has a glyph for every character, if any."""
    missing = characters - _BUILT_IN_GLYPHS
    if not missing:
        return BUILT_IN
    for face in _installed_faces():
        if all(has_glyph(face, character) for character in missing):
            return face
    return None


def has_glyph(face: Face, character: str) -> bool:
    """Whether a face has a glyph for a character."""
    if face == BUILT_IN:
        return character in _BUILT_IN_GLYPHS
    if not character.isprintable():
        return False
    probe = load_font(face, _PROBE_SIZE)
    glyph = bytes(probe.getmask(character))
    return any(glyph) and glyph != bytes(probe.getmask(_UNASSIGNED))


@lru_cache
def load_font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """A face at a size in pixels."""
    if face != BUILT_IN:
        return _open_face(face, round(size * _SYSTEM_SCALE))
    built_in = ImageFont.load_default(size=size)
    assert isinstance(built_in, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return built_in


@lru_cache
def _installed_faces() -> tuple[Face, ...]:
    return tuple(face for face in _SYSTEM_FACES if _is_installed(face))


def _is_installed(face: Face) -> bool:
    try:
        _open_face(face, _PROBE_SIZE)
    except OSError:
        return False
    return True


def _open_face(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """A system face with basic layout: the Raqm layout engine fails on some texts."""
    return ImageFont.truetype(face, size, layout_engine=ImageFont.Layout.BASIC)
