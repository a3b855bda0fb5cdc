"""The faces that type is set in: Pillow's own, and the machine's for letters which that lacks."""

from functools import lru_cache

from PIL import ImageFont

_PLAIN = {chr(code) for code in range(32, 127)} | {"…", "·"}
"""What Pillow's own Aileron knows, which every installation has."""
_OF_MACHINES = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf"),
    *("arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "DroidSansFallback.ttf"),
    *("wqy-zenhei.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "YuGothR.ttc"),
)
_ASKED_AT = 16
_NO_LETTER = "\U0010ffff"
_SHARE = 0.92
"""Of Aileron's size: other faces look larger."""

Face = str
"""The file of a face of the machine; Pillow's own has none."""


@lru_cache
def face_for(letters: frozenset[str]) -> Face | None:
    """The first face with all these letters, if there is one."""
    missing = letters - _PLAIN
    if not missing:
        return ""
    return next((face for face in _machine() if all(has(face, one) for one in missing)), None)


def has(face: Face, letter: str) -> bool:
    """Whether a face has the shape of a letter."""
    if not face:
        return letter in _PLAIN
    if not letter.isprintable():
        return False
    known = font(face, _ASKED_AT)
    drawn = bytes(known.getmask(letter))
    return any(drawn) and drawn != bytes(known.getmask(_NO_LETTER))


@lru_cache
def font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """A face at a size."""
    if face:
        return _opened(face, round(size * _SHARE))
    found = ImageFont.load_default(size=size)
    assert isinstance(found, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return found


@lru_cache
def _machine() -> tuple[Face, ...]:
    return tuple(face for face in _OF_MACHINES if _is_there(face))


def _is_there(face: Face) -> bool:
    try:
        _opened(face, _ASKED_AT)
    except OSError:
        return False
    return True


def _opened(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """Each letter by itself: the finer layout gives up on some texts."""
    return ImageFont.truetype(face, size, layout_engine=ImageFont.Layout.BASIC)
