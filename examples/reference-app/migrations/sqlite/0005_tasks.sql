CREATE TABLE tasks (
    -- AUTOINCREMENT: a deleted task's id is never given out again.
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title        TEXT    NOT NULL,
    description  TEXT,
    status       TEXT    NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed', 'cancelled')),
    priority     TEXT    NOT NULL CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    progress     INTEGER NOT NULL CHECK (progress BETWEEN 0 AND 100),
    due_at       INTEGER,
    tags         TEXT    NOT NULL DEFAULT '[]',
    completed_at INTEGER,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CHECK ((status = 'completed') = (completed_at IS NOT NULL))
);
CREATE INDEX tasks_of_user ON tasks (user_id, id DESC);
