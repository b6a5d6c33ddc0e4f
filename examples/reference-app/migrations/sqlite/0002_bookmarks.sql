CREATE TABLE bookmarks (
    -- AUTOINCREMENT: a deleted bookmark's id is never given out again.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    url         TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    description TEXT,
    tags        TEXT    NOT NULL DEFAULT '[]',
    favorite    BOOLEAN NOT NULL DEFAULT FALSE,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
);
CREATE INDEX bookmarks_of_user ON bookmarks (user_id, id DESC);
