CREATE TABLE tasks (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title        TEXT   NOT NULL,
    description  TEXT,
    status       TEXT   NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed', 'cancelled')),
    priority     TEXT   NOT NULL CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    progress     BIGINT NOT NULL CHECK (progress BETWEEN 0 AND 100),
    due_at       BIGINT,
    tags         TEXT   NOT NULL DEFAULT '[]',
    completed_at BIGINT,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    CHECK ((status = 'completed') = (completed_at IS NOT NULL))
);
CREATE INDEX tasks_of_user ON tasks (user_id, id DESC);
