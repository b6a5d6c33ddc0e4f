CREATE TABLE challenges (
    -- When it was made, not counted: boards in Redis outlive a database that is set up anew.
    id           INTEGER PRIMARY KEY,
    owner_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title        TEXT    NOT NULL,
    description  TEXT,
    starts_at    INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL,
    -- NULL: there is room for everybody.
    capacity     INTEGER,
    ranking      TEXT    NOT NULL,
    participants INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CHECK (starts_at < ends_at),
    CHECK (participants <= capacity)
);

CREATE TABLE challenge_participants (
    challenge_id INTEGER NOT NULL REFERENCES challenges (id) ON DELETE CASCADE,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The sum of the points of all events.
    score        INTEGER NOT NULL DEFAULT 0,
    joined_at    INTEGER NOT NULL,
    PRIMARY KEY (challenge_id, user_id)
);
CREATE INDEX participants_by_score
    ON challenge_participants (challenge_id, score DESC, CAST(user_id AS TEXT)) WHERE score > 0;

CREATE TABLE score_events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    challenge_id INTEGER NOT NULL,
    user_id      INTEGER NOT NULL,
    event_id     TEXT    NOT NULL,
    points       INTEGER NOT NULL,
    -- The score with this event.
    total        INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    -- NULL: the board in Redis may lack it.
    on_board_at  INTEGER,
    UNIQUE (challenge_id, user_id, event_id),
    FOREIGN KEY (challenge_id, user_id) REFERENCES challenge_participants (challenge_id, user_id) ON DELETE CASCADE
);
CREATE INDEX score_events_waiting ON score_events (id) WHERE on_board_at IS NULL;
CREATE INDEX score_events_of_member ON score_events (challenge_id, user_id, on_board_at);
CREATE INDEX score_events_taken ON score_events (challenge_id, on_board_at);
