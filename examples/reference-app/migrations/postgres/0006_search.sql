-- One document for each bookmark and each task. Its id orders the results and never changes.
CREATE TABLE search_documents (
    id      BIGINT   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id BIGINT   NOT NULL,
    kind    TEXT     NOT NULL,
    item_id BIGINT   NOT NULL,
    words   TSVECTOR NOT NULL,
    UNIQUE (kind, item_id)
);
CREATE INDEX search_documents_of_user ON search_documents (user_id, id DESC);
CREATE INDEX search_words ON search_documents USING GIN (words);

-- The words of texts: without the parser's opinion on what is a host, a path or a number with a sign, so that SQLite
-- and PostgreSQL find the same.
CREATE FUNCTION words_of(VARIADIC texts TEXT[]) RETURNS TSVECTOR LANGUAGE sql IMMUTABLE AS $$
    SELECT to_tsvector('simple',
        translate(array_to_string(texts, ' '), $punctuation$!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~$punctuation$, repeat(' ', 32)));
$$;

CREATE FUNCTION tags_of(tags TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(value, ' ') FROM jsonb_array_elements_text(tags::jsonb);
$$;

-- The host of an address: after the scheme and slashes, before the path, without user and port.
CREATE FUNCTION host_of(url TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT substring(url FROM '^[^:]*:[/\\]*(?:[^/?#@]*@)?([^/?#:]*)');
$$;

INSERT INTO search_documents (user_id, kind, item_id, words)
SELECT user_id, kind, id, words
FROM (
    SELECT user_id, 'bookmarks' AS kind, id, created_at,
           words_of(title, description, tags_of(tags), host_of(url)) AS words
    FROM bookmarks
    UNION ALL
    SELECT user_id, 'tasks', id, created_at, words_of(title, description, tags_of(tags)) FROM tasks
) AS documents
ORDER BY created_at, kind, id;

CREATE FUNCTION keep_bookmark_searchable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_documents (user_id, kind, item_id, words)
    VALUES (NEW.user_id, 'bookmarks', NEW.id,
            words_of(NEW.title, NEW.description, tags_of(NEW.tags), host_of(NEW.url)))
    ON CONFLICT (kind, item_id) DO UPDATE SET words = EXCLUDED.words;
    RETURN NULL;
END
$$;
CREATE TRIGGER bookmark_is_searchable AFTER INSERT OR UPDATE OF url, title, description, tags ON bookmarks
    FOR EACH ROW EXECUTE FUNCTION keep_bookmark_searchable();

CREATE FUNCTION keep_task_searchable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_documents (user_id, kind, item_id, words)
    VALUES (NEW.user_id, 'tasks', NEW.id, words_of(NEW.title, NEW.description, tags_of(NEW.tags)))
    ON CONFLICT (kind, item_id) DO UPDATE SET words = EXCLUDED.words;
    RETURN NULL;
END
$$;
CREATE TRIGGER task_is_searchable AFTER INSERT OR UPDATE OF title, description, tags ON tasks
    FOR EACH ROW EXECUTE FUNCTION keep_task_searchable();

-- The trigger's argument is the kind.
CREATE FUNCTION forget_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM search_documents WHERE kind = TG_ARGV[0] AND item_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER bookmark_is_gone AFTER DELETE ON bookmarks FOR EACH ROW EXECUTE FUNCTION forget_document('bookmarks');
CREATE TRIGGER task_is_gone AFTER DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION forget_document('tasks');
