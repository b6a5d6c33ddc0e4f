CREATE TABLE items (
    -- When it was made, not counted: counters in Redis outlive a database that is set up anew.
    id          BIGINT PRIMARY KEY,
    owner_id    BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title       TEXT   NOT NULL,
    description TEXT,
    kind        TEXT   NOT NULL,
    views       BIGINT NOT NULL DEFAULT 0,
    downloads   BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL
);

-- The same counts by the day, for trends.
CREATE TABLE item_days (
    item_id   BIGINT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    -- Days since 1970, by UTC.
    day       BIGINT NOT NULL,
    views     BIGINT NOT NULL,
    downloads BIGINT NOT NULL,
    PRIMARY KEY (day, item_id)
);

-- The last flush of counts that came from each process.
CREATE TABLE count_flushes (
    writer TEXT   PRIMARY KEY,
    number BIGINT NOT NULL,
    at     BIGINT NOT NULL
);
