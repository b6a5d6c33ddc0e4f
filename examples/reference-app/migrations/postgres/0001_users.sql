CREATE TABLE users (
    -- Random, not counted: sessions and cached responses in Redis outlive a database that is set up anew.
    id            BIGINT  PRIMARY KEY,
    username      TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    is_admin      BOOLEAN NOT NULL DEFAULT FALSE,
    created_at    BIGINT  NOT NULL
);
