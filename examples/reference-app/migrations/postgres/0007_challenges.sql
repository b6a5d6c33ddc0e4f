CREATE TABLE challenges (
    -- When it was made, not counted: boards in Redis outlive a database that is set up anew.
    id           BIGINT PRIMARY KEY,
    owner_id     BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title        TEXT   NOT NULL,
    description  TEXT,
    starts_at    BIGINT NOT NULL,
    ends_at      BIGINT NOT NULL,
    -- NULL: there is room for everybody.
    capacity     BIGINT,
    ranking      TEXT   NOT NULL,
    participants BIGINT NOT NULL DEFAULT 0,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    CHECK (starts_at < ends_at),
    CHECK (participants <= capacity)
);

CREATE TABLE challenge_participants (
    challenge_id BIGINT NOT NULL REFERENCES challenges (id) ON DELETE CASCADE,
    user_id      BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The sum of the points of all events.
    score        BIGINT NOT NULL DEFAULT 0,
    joined_at    BIGINT NOT NULL,
    PRIMARY KEY (challenge_id, user_id)
);
CREATE INDEX participants_by_score
    ON challenge_participants (challenge_id, score DESC, (CAST(user_id AS TEXT)) COLLATE "C") WHERE score > 0;

CREATE TABLE score_events (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    challenge_id BIGINT NOT NULL,
    user_id      BIGINT NOT NULL,
    event_id     TEXT   NOT NULL,
    points       BIGINT NOT NULL,
    -- The score with this event.
    total        BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    -- NULL: the board in Redis may lack it.
    on_board_at  BIGINT,
    UNIQUE (challenge_id, user_id, event_id),
    FOREIGN KEY (challenge_id, user_id) REFERENCES challenge_participants (challenge_id, user_id) ON DELETE CASCADE
);
CREATE INDEX score_events_waiting ON score_events (id) WHERE on_board_at IS NULL;
CREATE INDEX score_events_of_member ON score_events (challenge_id, user_id, on_board_at);
CREATE INDEX score_events_taken ON score_events (challenge_id, on_board_at);
