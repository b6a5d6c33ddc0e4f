//! What a user's bookmarks and tasks amount to, counted by the database: one query.

use super::{Database, with_pool};

/// One count: of what, of which value of it, how many.
pub(crate) type Count = (String, String, i64);

/// A day in microseconds; days are those of UTC.
pub(crate) const DAY: i64 = 86_400_000_000;

/// How many tags are the top ones.
pub(crate) const TOP_TAGS: i64 = 10;

/// The statement, with what differs: how a JSON list of tags becomes rows, and how texts are ordered byte by byte.
/// `$1` is the user, `$2` the first day's begin, `$3` now, `$4` how many tags.
macro_rules! statement {
    ($each_tag:literal, $bytewise:literal) => {
        concat!(
            "SELECT 'bookmarks', '', COUNT(*) FROM bookmarks WHERE user_id = $1 \
             UNION ALL SELECT 'favorites', '', COUNT(*) FROM bookmarks WHERE user_id = $1 AND favorite \
             UNION ALL SELECT 'overdue', '', COUNT(*) FROM tasks \
             WHERE user_id = $1 AND status IN ('pending', 'in_progress') AND due_at < $3 \
             UNION ALL SELECT 'status', status, COUNT(*) FROM tasks WHERE user_id = $1 GROUP BY status \
             UNION ALL SELECT 'priority', priority, COUNT(*) FROM tasks WHERE user_id = $1 GROUP BY priority \
             UNION ALL SELECT 'bookmarks_of_day', CAST(created_at / 86400000000 AS TEXT), COUNT(*) FROM bookmarks \
             WHERE user_id = $1 AND created_at >= $2 GROUP BY created_at / 86400000000 \
             UNION ALL SELECT 'tasks_of_day', CAST(created_at / 86400000000 AS TEXT), COUNT(*) FROM tasks \
             WHERE user_id = $1 AND created_at >= $2 GROUP BY created_at / 86400000000 \
             UNION ALL SELECT 'completed_of_day', CAST(completed_at / 86400000000 AS TEXT), COUNT(*) FROM tasks \
             WHERE user_id = $1 AND completed_at >= $2 GROUP BY completed_at / 86400000000 \
             UNION ALL SELECT * FROM (SELECT 'tag', tag.value, COUNT(*) FROM (\
             SELECT tags FROM bookmarks WHERE user_id = $1 UNION ALL SELECT tags FROM tasks WHERE user_id = $1\
             ) AS tagged, ",
            $each_tag,
            " AS tag GROUP BY tag.value ORDER BY COUNT(*) DESC, tag.value COLLATE ",
            $bytewise,
            " LIMIT $4) AS top_tags"
        )
    };
}

const SQLITE: &str = statement!("json_each(tagged.tags)", "BINARY");
const POSTGRES: &str = statement!("jsonb_array_elements_text(CAST(tagged.tags AS JSONB))", "\"C\"");

/// Counts over the tables of bookmarks and tasks.
#[derive(Clone, Debug)]
pub(crate) struct Analytics(Database);

impl Analytics {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// All counts of a user; what is zero may be missing. Tags come in their order, the most used first.
    pub(crate) async fn counts(&self, user: i64, since: i64, now: i64) -> sqlx::Result<Vec<Count>> {
        let sql = match &self.0 {
            Database::Sqlite(_) => SQLITE,
            Database::Postgres(_) => POSTGRES,
        };
        with_pool!(&self.0, pool => sqlx::query_as(sql)
            .bind(user)
            .bind(since)
            .bind(now)
            .bind(TOP_TAGS)
            .fetch_all(pool)
            .await)
    }
}
