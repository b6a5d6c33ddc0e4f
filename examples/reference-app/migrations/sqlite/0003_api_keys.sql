CREATE TABLE api_keys (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The part of the key that is no secret: it finds the row.
    prefix       TEXT    NOT NULL UNIQUE,
    -- SHA-256 of the secret, which is random: there is nothing to guess, so nothing to slow down.
    digest       BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
);
CREATE INDEX api_keys_of_user ON api_keys (user_id, id DESC);
