"""The tables of an atlas file, as data. `docs/reference/atlas.md` explains them."""

from collections.abc import Collection, Mapping
from enum import StrEnum

from retroscope.errors import RetroscopeError
from retroscope.results.statistics import stored_statistics

APPLICATION_ID = 0x52545343
"""`RTSC` in ASCII, at byte 68 of the file, where `file` and SQLite look for it."""
SCHEMA_VERSION = 1
"""Stored in `user_version`. A reader opens this version and older ones."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Value = int | float | str | bytes | None
"""What SQLite stores in one cell."""


class Ranking(StrEnum):
    """What hits are ranked by: the maximum of a channel's map, its mean, or its minimum.

    A sample is no ranking of all images: its hits are those at some quantiles of the channel's
    maxima in a random sample of them (`SAMPLE_QUANTILES`), and a random one.
    """

    MAX = "max"
    MEAN = "mean"
    MIN = "min"
    SAMPLE = "sample"


DEFAULT_RANKINGS = (Ranking.MAX, Ranking.MEAN)
"""Those that every atlas has. A scan projects their hits, and the pages of the viewer show them."""


class ImageStatus(StrEnum):
    """Whether an image of the list has been read; column `status` of table `images`."""

    PENDING = "pending"
    OK = "ok"
    UNREADABLE = "unreadable"


class ScanState(StrEnum):
    """How far the scan of an atlas has come; key `state` of table `meta`."""

    SCANNING = "scanning"
    SCORING = "scoring"
    SCANNED = "scanned"
    ILLUSTRATED = "illustrated"

    @property
    def is_finished(self) -> bool:
        """Whether the hits and statistics are final."""
        return self in (ScanState.SCANNED, ScanState.ILLUSTRATED)


class AtlasError(RetroscopeError):
    """An atlas that cannot be opened, read or written."""


def channels_table() -> str:
    """The columns of table `channels`: a column for each statistic."""
    statistics = ",\n        ".join(f"{row.name} {row.sql_type}" for row in stored_statistics())
    return f"""
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        {statistics},
        top_label INTEGER REFERENCES labels (id),
        PRIMARY KEY (layer, channel)"""


def _check(column: str, values: Collection[str]) -> str:
    """Allows these values alone.

    SQLite makes a table of a list after `IN` for each statement, which takes longer than a row.
    """
    conditions = (f"{column} = '{value}'" for value in values)
    return f"CHECK ({' OR '.join(conditions)})"


TABLES = {
    "meta": """
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL""",
    "layers": """
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        channels INTEGER NOT NULL,
        height INTEGER NOT NULL,
        width INTEGER NOT NULL,
        field_y_size INTEGER NOT NULL,
        field_y_stride INTEGER NOT NULL,
        field_y_start INTEGER NOT NULL,
        field_x_size INTEGER NOT NULL,
        field_x_stride INTEGER NOT NULL,
        field_x_start INTEGER NOT NULL,
        whole INTEGER NOT NULL,
        global_context INTEGER NOT NULL,
        aliases TEXT NOT NULL,
        note TEXT NOT NULL,
        step INTEGER NOT NULL,
        convolution TEXT,
        depth INTEGER,
        field_z_size INTEGER,
        field_z_stride INTEGER,
        field_z_start INTEGER""",
    "graph": """
        step INTEGER PRIMARY KEY,
        operation TEXT NOT NULL,
        inputs TEXT NOT NULL""",
    "labels": """
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        images INTEGER NOT NULL""",
    "images": f"""
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        label INTEGER REFERENCES labels (id),
        status TEXT NOT NULL {_check("status", [*ImageStatus])},
        error TEXT""",
    "image_files": """
        image INTEGER PRIMARY KEY REFERENCES images (id),
        size INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        digest BLOB NOT NULL""",
    "winner_pictures": """
        image INTEGER PRIMARY KEY REFERENCES images (id),
        blob BLOB NOT NULL""",
    "channels": channels_table(),
    "hits": f"""
        layer INTEGER NOT NULL REFERENCES layers (id),
        ranked_by TEXT NOT NULL {_check("ranked_by", [*Ranking])},
        channel INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        score REAL NOT NULL,
        image INTEGER NOT NULL REFERENCES images (id),
        y INTEGER NOT NULL,
        x INTEGER NOT NULL,
        PRIMARY KEY (layer, ranked_by, channel, rank)""",
    "class_hits": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        label INTEGER NOT NULL REFERENCES labels (id),
        channel INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        score REAL NOT NULL,
        image INTEGER NOT NULL REFERENCES images (id),
        y INTEGER NOT NULL,
        x INTEGER NOT NULL,
        PRIMARY KEY (layer, label, channel, rank)""",
    "sample_images": """
        image INTEGER PRIMARY KEY REFERENCES images (id),
        hash INTEGER NOT NULL""",
    "samples": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        scores BLOB NOT NULL,
        positions BLOB NOT NULL,
        PRIMARY KEY (layer, channel)""",
    "class_stats": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        mean_maximum BLOB NOT NULL,
        fired_share BLOB NOT NULL,
        PRIMARY KEY (layer, channel)""",
    "projections": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        image INTEGER NOT NULL REFERENCES images (id),
        y INTEGER NOT NULL,
        x INTEGER NOT NULL,
        rules TEXT NOT NULL,
        activation REAL NOT NULL,
        blob BLOB NOT NULL,
        peak REAL NOT NULL,
        height INTEGER NOT NULL,
        width INTEGER NOT NULL,
        depth INTEGER NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (layer, channel, image, y, x, rules)""",
    "patterns": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        recipe TEXT NOT NULL,
        seed INTEGER NOT NULL,
        steps INTEGER NOT NULL,
        activation REAL,
        score REAL,
        started_at REAL,
        blob BLOB NOT NULL,
        opacity BLOB,
        note TEXT NOT NULL,
        caveat TEXT NOT NULL,
        PRIMARY KEY (layer, channel, recipe)""",
    "numbers": f"""
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        name TEXT NOT NULL,
        value REAL,
        low REAL,
        high REAL,
        chance REAL,
        subject TEXT NOT NULL {_check("subject", ("unit", "method", "projection"))},
        basis TEXT NOT NULL,
        PRIMARY KEY (layer, channel, name)""",
    "names": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('file', 'dissection')),
        name TEXT NOT NULL,
        score REAL,
        PRIMARY KEY (layer, channel, source)""",
    "state": """
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL""",
}

LATER_TABLES = (
    *("patterns", "image_files", "graph", "numbers", "names"),
    *("class_hits", "sample_images", "samples"),
)
"""Tables that an older atlas lacks until it is next opened for writing."""

EXTENDED_TABLES = ("channels", "layers")
"""Tables to which columns were added."""

CLUSTERED = ("channels", "hits", "class_hits")
"""Tables with small rows, stored in the order of their key. For large blobs rowids are faster."""

VIEWS = {
    "named_hits": """
        SELECT layers.name AS layer, hits.channel, hits.ranked_by, hits.rank, hits.score,
            hits.image, images.key, labels.name AS label, hits.y, hits.x
        FROM hits
        JOIN layers ON layers.id = hits.layer
        JOIN images ON images.id = hits.image
        LEFT JOIN labels ON labels.id = images.label""",
}

INDEXES = {
    "hits_by_image": "hits (image, ranked_by)",
    "images_by_label": "images (label) WHERE label IS NOT NULL",
    "unreadable_images": "images (id) WHERE status = 'unreadable'",
}
"""Queries by layer need no index: the keys of `hits` and `channels` begin with the layer."""


def create_statements() -> list[str]:
    """The statements that make an atlas of an empty database, in order."""
    tables = map(_create_table, TABLES)
    views = (f"CREATE VIEW IF NOT EXISTS {name} AS {query}" for name, query in VIEWS.items())
    indexes = map(create_index, INDEXES)
    stamps = (
        f"PRAGMA application_id = {APPLICATION_ID}",
        f"PRAGMA user_version = {SCHEMA_VERSION}",
    )
    return [*tables, *views, *indexes, *stamps]


def _create_table(name: str, condition: str = "") -> str:
    options = " WITHOUT ROWID" if name in CLUSTERED else ""
    return f"CREATE TABLE {condition} {name} ({TABLES[name]}\n){options}"


def create_index(name: str) -> str:
    """The statement that makes an index of `INDEXES`."""
    return f"CREATE INDEX {name} ON {INDEXES[name]}"


def later_columns(table: str) -> dict[str, str]:
    """The columns that an older atlas may lack in a table, with their types without NOT NULL."""
    if table == "channels":
        types = {row.name: str(row.sql_type) for row in stored_statistics()}
        return {name: sql_type.removesuffix(" NOT NULL") for name, sql_type in types.items()}
    return dict(_LATER_LAYER_COLUMNS) if table == "layers" else {}


_LATER_LAYER_COLUMNS = {
    "convolution": "TEXT",
    **dict.fromkeys(("depth", "field_z_size", "field_z_stride", "field_z_start"), "INTEGER"),
}
"""The last four are those of volumes, and NULL for images."""


def upgrade_statements(columns: Mapping[str, Collection[str]]) -> list[str]:
    """The statements that add what an older atlas lacks, and stamp it with this version.

    `columns` are those that its tables have. One that is added is NULL in the rows that were
    written without it.
    """
    tables = (_create_table(name, "IF NOT EXISTS") for name in LATER_TABLES)
    additions = (
        f"ALTER TABLE {table} ADD COLUMN {name} {sql_type}"
        for table, existing in columns.items()
        for name, sql_type in later_columns(table).items()
        if name not in existing
    )
    return [*tables, *additions, f"PRAGMA user_version = {SCHEMA_VERSION}"]
