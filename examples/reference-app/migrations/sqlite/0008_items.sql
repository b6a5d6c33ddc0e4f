CREATE TABLE items (
    -- When it was made, not counted: counters in Redis outlive a database that is set up anew.
    id          INTEGER PRIMARY KEY,
    owner_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title       TEXT    NOT NULL,
    description TEXT,
    kind        TEXT    NOT NULL,
    views       INTEGER NOT NULL DEFAULT 0,
    downloads   INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL
);

-- The same counts by the day, for trends.
CREATE TABLE item_days (
    item_id   INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    -- Days since 1970, by UTC.
    day       INTEGER NOT NULL,
    views     INTEGER NOT NULL,
    downloads INTEGER NOT NULL,
    PRIMARY KEY (day, item_id)
);

-- The last flush of counts that came from each process.
CREATE TABLE count_flushes (
    writer TEXT    PRIMARY KEY,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL
);
