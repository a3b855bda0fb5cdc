"""What an atlas file is made of: the tables as data. `docs/reference/atlas.md` explains them."""

from retroscope.errors import RetroscopeError

APPLICATION_ID = 0x52545343
"""`RTSC` in ASCII, at byte 68 of the file, where `file` and SQLite look for it."""
SCHEMA_VERSION = 1
"""Kept in `user_version`. A reader opens this version and older ones."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Value = int | float | str | bytes | None
"""What SQLite keeps in one cell."""

RANKINGS = ("max", "mean")
PENDING, OK, UNREADABLE = "pending", "ok", "unreadable"


class AtlasError(RetroscopeError):
    """An atlas that cannot be opened, read or written."""


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
        step INTEGER NOT NULL""",
    "labels": """
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        images INTEGER NOT NULL""",
    "images": """
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        label INTEGER REFERENCES labels (id),
        status TEXT NOT NULL CHECK (status IN ('pending', 'ok', 'unreadable')),
        error TEXT""",
    "winner_pictures": """
        image INTEGER PRIMARY KEY REFERENCES images (id),
        blob BLOB NOT NULL""",
    "channels": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        channel INTEGER NOT NULL,
        images INTEGER NOT NULL,
        positions INTEGER NOT NULL,
        mean REAL,
        std REAL,
        maximum REAL,
        fired_images INTEGER NOT NULL,
        fired_positions INTEGER NOT NULL,
        non_finite INTEGER NOT NULL,
        histogram BLOB NOT NULL,
        dead INTEGER NOT NULL,
        top_label INTEGER REFERENCES labels (id),
        PRIMARY KEY (layer, channel)""",
    "hits": """
        layer INTEGER NOT NULL REFERENCES layers (id),
        ranked_by TEXT NOT NULL CHECK (ranked_by IN ('max', 'mean')),
        channel INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        score REAL NOT NULL,
        image INTEGER NOT NULL REFERENCES images (id),
        y INTEGER NOT NULL,
        x INTEGER NOT NULL,
        PRIMARY KEY (layer, ranked_by, channel, rank)""",
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
    "state": """
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL""",
}

ADDED = ("patterns",)
"""Tables that an atlas of this version may lack, until it is next opened for writing."""

CLUSTERED = ("channels", "hits")
"""Small rows that lie in the order of their key; a table with blobs is better off with rowids."""

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
"""A page of a layer needs none: the key of `hits` and `channels` begins with the layer."""


def statements() -> list[str]:
    """What makes an empty file an atlas, in order."""
    tables = (
        f"CREATE TABLE {name} ({columns}\n){' WITHOUT ROWID' if name in CLUSTERED else ''}"
        for name, columns in TABLES.items()
    )
    views = (f"CREATE VIEW {name} AS {query}" for name, query in VIEWS.items())
    indexes = (f"CREATE INDEX {name} ON {columns}" for name, columns in INDEXES.items())
    stamps = (
        f"PRAGMA application_id = {APPLICATION_ID}",
        f"PRAGMA user_version = {SCHEMA_VERSION}",
    )
    return [*tables, *views, *indexes, *stamps]
