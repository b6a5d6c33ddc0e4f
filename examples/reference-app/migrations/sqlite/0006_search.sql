-- One document for each bookmark and each task. Its id orders the results and never changes.
-- AUTOINCREMENT: a cursor must not meet the id of a deleted document again.
CREATE TABLE search_documents (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    item_id INTEGER NOT NULL,
    UNIQUE (kind, item_id)
);

-- Only the index of the words, by document; the texts are in their own tables. `owner` is one word, so that a search
-- reads no other user's words. Accents count and case does not, as in PostgreSQL's configuration `simple`.
CREATE VIRTUAL TABLE search_words USING fts5 (
    owner, title, description, tags, host,
    content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 0'
);

-- The host of an address: after the scheme and slashes, before the path, without user and port.
CREATE VIEW bookmark_words AS
SELECT d.id, 'u' || d.user_id AS owner, title, description, tags, substr(host, 1, instr(host || ':', ':') - 1) AS host
FROM (
    SELECT id, title, description, tags, substr(authority, instr(authority, '@') + 1) AS host
    FROM (
        SELECT id, title, description, (SELECT group_concat(value, ' ') FROM json_each(tags)) AS tags,
               substr(rest, 1, instr(rest || '/', '/') - 1) AS authority
        FROM (
            SELECT id, title, description, tags,
                   replace(replace(ltrim(substr(url, instr(url, ':') + 1), '/\'), '?', '/'), '#', '/') AS rest
            FROM bookmarks
        )
    )
) b JOIN search_documents d ON d.kind = 'bookmarks' AND d.item_id = b.id;

CREATE VIEW task_words AS
SELECT d.id, 'u' || d.user_id AS owner, title, description,
       (SELECT group_concat(value, ' ') FROM json_each(tags)) AS tags, NULL AS host
FROM tasks t JOIN search_documents d ON d.kind = 'tasks' AND d.item_id = t.id;

INSERT INTO search_documents (user_id, kind, item_id)
SELECT user_id, kind, id
FROM (
    SELECT user_id, 'bookmarks' AS kind, id, created_at FROM bookmarks
    UNION ALL SELECT user_id, 'tasks', id, created_at FROM tasks
)
ORDER BY created_at, kind, id;
INSERT INTO search_words (rowid, owner, title, description, tags, host) SELECT * FROM bookmark_words;
INSERT INTO search_words (rowid, owner, title, description, tags, host) SELECT * FROM task_words;

CREATE TRIGGER bookmark_is_searchable AFTER INSERT ON bookmarks BEGIN
    INSERT INTO search_documents (user_id, kind, item_id) VALUES (NEW.user_id, 'bookmarks', NEW.id);
    INSERT INTO search_words (rowid, owner, title, description, tags, host)
    SELECT * FROM bookmark_words WHERE id = (SELECT id FROM search_documents WHERE kind = 'bookmarks' AND item_id = NEW.id);
END;
CREATE TRIGGER task_is_searchable AFTER INSERT ON tasks BEGIN
    INSERT INTO search_documents (user_id, kind, item_id) VALUES (NEW.user_id, 'tasks', NEW.id);
    INSERT INTO search_words (rowid, owner, title, description, tags, host)
    SELECT * FROM task_words WHERE id = (SELECT id FROM search_documents WHERE kind = 'tasks' AND item_id = NEW.id);
END;

CREATE TRIGGER bookmark_stays_searchable AFTER UPDATE OF url, title, description, tags ON bookmarks BEGIN
    DELETE FROM search_words
    WHERE rowid = (SELECT id FROM search_documents WHERE kind = 'bookmarks' AND item_id = NEW.id);
    INSERT INTO search_words (rowid, owner, title, description, tags, host)
    SELECT * FROM bookmark_words WHERE id = (SELECT id FROM search_documents WHERE kind = 'bookmarks' AND item_id = NEW.id);
END;
CREATE TRIGGER task_stays_searchable AFTER UPDATE OF title, description, tags ON tasks BEGIN
    DELETE FROM search_words
    WHERE rowid = (SELECT id FROM search_documents WHERE kind = 'tasks' AND item_id = NEW.id);
    INSERT INTO search_words (rowid, owner, title, description, tags, host)
    SELECT * FROM task_words WHERE id = (SELECT id FROM search_documents WHERE kind = 'tasks' AND item_id = NEW.id);
END;

CREATE TRIGGER bookmark_is_gone AFTER DELETE ON bookmarks BEGIN
    DELETE FROM search_words
    WHERE rowid = (SELECT id FROM search_documents WHERE kind = 'bookmarks' AND item_id = OLD.id);
    DELETE FROM search_documents WHERE kind = 'bookmarks' AND item_id = OLD.id;
END;
CREATE TRIGGER task_is_gone AFTER DELETE ON tasks BEGIN
    DELETE FROM search_words
    WHERE rowid = (SELECT id FROM search_documents WHERE kind = 'tasks' AND item_id = OLD.id);
    DELETE FROM search_documents WHERE kind = 'tasks' AND item_id = OLD.id;
END;
