CREATE TABLE uploads (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    content_type TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    -- In hex.
    sha256       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    -- The last one: a list does not read past what it shows.
    content      BLOB    NOT NULL
);
CREATE INDEX uploads_of_user ON uploads (user_id, id DESC);
