CREATE TABLE uploads (
    id           BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    content_type TEXT    NOT NULL,
    size         BIGINT  NOT NULL,
    -- In hex.
    sha256       TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL,
    content      BYTEA   NOT NULL
);
CREATE INDEX uploads_of_user ON uploads (user_id, id DESC);
