//! Tasks as they are stored. Every statement names the owner: another user's task is not there.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, list, now, time, with_pool};
use crate::{
    choice::Choice,
    page::{Page, Paging},
};

/// Where a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TaskStatus)]
pub(crate) enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
    Cancelled,
}

impl Choice for Status {
    const ALL: &'static [Self] = &[Self::Pending, Self::InProgress, Self::Completed, Self::Cancelled];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How much a task matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TaskPriority)]
pub(crate) enum Priority {
    Low,
    #[default]
    Medium,
    High,
    Urgent,
}

impl Choice for Priority {
    const ALL: &'static [Self] = &[Self::Low, Self::Medium, Self::High, Self::Urgent];

    fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

/// A task, as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) status: Status,
    pub(crate) priority: Priority,
    /// Percent; 100 in a completed task.
    pub(crate) progress: i64,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) tags: Vec<String>,
    /// When it was completed; null in any other status.
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What a new task is made of.
#[derive(Clone, Debug, ToSchema)]
pub(crate) struct NewTask {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    /// Pending unless told otherwise.
    pub(crate) status: Option<Status>,
    /// Medium unless told otherwise.
    pub(crate) priority: Option<Priority>,
    #[schema(minimum = 0, maximum = 100, default = 0)]
    pub(crate) progress: Option<i64>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) tags: Option<Vec<String>>,
}

/// What changes; `None` stays as it is.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = TaskChanges)]
pub(crate) struct Changes {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<Option<String>>,
    pub(crate) status: Option<Status>,
    pub(crate) priority: Option<Priority>,
    #[schema(minimum = 0, maximum = 100)]
    pub(crate) progress: Option<i64>,
    pub(crate) due_at: Option<Option<Timestamp>>,
    pub(crate) tags: Option<Vec<String>>,
}

/// Which tasks to list; `None` is any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) status: Option<Status>,
    pub(crate) priority: Option<Priority>,
}

type Row = (i64, String, Option<String>, String, String, i64, Option<i64>, String, Option<i64>, i64, i64);

impl From<Row> for Task {
    fn from(row: Row) -> Self {
        let (id, title, description, status, priority, progress, due_at, tags, completed_at, created_at, updated_at) =
            row;
        Self {
            id,
            title,
            description,
            status: Status::named(&status).unwrap_or_default(),
            priority: Priority::named(&priority).unwrap_or_default(),
            progress,
            due_at: due_at.map(time),
            tags: serde_json::from_str(&tags).unwrap_or_default(),
            completed_at: completed_at.map(time),
            created_at: time(created_at),
            updated_at: time(updated_at),
        }
    }
}

/// The table of tasks.
///
/// A completed task has progress 100 and the time it was completed at, whatever was sent along; a task that is opened
/// again loses that time and keeps its progress. Changes are read with `fetch_all`, as those of bookmarks are.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Database);

impl Tasks {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One page of a user's tasks, newest first: one query.
    pub(crate) async fn list(&self, user: i64, filter: Filter, paging: &Paging) -> sqlx::Result<Page<Task>> {
        const SQL: &str = "SELECT id, title, description, status, priority, progress, due_at, tags, completed_at, \
                           created_at, updated_at FROM tasks WHERE user_id = $1 AND id < $2 \
                           AND (CAST($3 AS TEXT) IS NULL OR status = $3) \
                           AND (CAST($4 AS TEXT) IS NULL OR priority = $4) ORDER BY id DESC LIMIT $5";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(paging.before())
            .bind(filter.status.map(Choice::as_str))
            .bind(filter.priority.map(Choice::as_str))
            .bind(paging.rows())
            .fetch_all(pool)
            .await)?;
        Ok(Page::new(paging, rows.into_iter().map(Task::from).collect(), |task| task.id))
    }

    /// The open tasks that press most: urgent or begun ones, then those that are due first.
    pub(crate) async fn pressing(&self, user: i64, most: i64) -> sqlx::Result<Vec<Task>> {
        const SQL: &str = "SELECT id, title, description, status, priority, progress, due_at, tags, completed_at, \
                           created_at, updated_at FROM tasks WHERE user_id = $1 \
                           AND status IN ('pending', 'in_progress') ORDER BY CASE \
                           WHEN priority = 'urgent' OR status = 'in_progress' THEN 0 ELSE 1 END, \
                           CASE WHEN due_at IS NULL THEN 1 ELSE 0 END, due_at, id LIMIT $2";
        let rows: Vec<Row> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(user).bind(most).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(Task::from).collect())
    }

    pub(crate) async fn find(&self, user: i64, id: i64) -> sqlx::Result<Option<Task>> {
        const SQL: &str = "SELECT id, title, description, status, priority, progress, due_at, tags, completed_at, \
                           created_at, updated_at FROM tasks WHERE user_id = $1 AND id = $2";
        let row: Option<Row> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(user).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(Task::from))
    }

    pub(crate) async fn create(&self, user: i64, new: &NewTask) -> sqlx::Result<Task> {
        const SQL: &str = "INSERT INTO tasks (user_id, title, description, status, priority, progress, due_at, tags, \
                           completed_at, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, \
                           CASE WHEN $4 = 'completed' THEN 100 ELSE $6 END, $7, $8, \
                           CASE WHEN $4 = 'completed' THEN CAST($9 AS BIGINT) END, $9, $9) \
                           RETURNING id, title, description, status, priority, progress, due_at, tags, completed_at, \
                           created_at, updated_at";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(&new.title)
            .bind(&new.description)
            .bind(new.status.unwrap_or_default().as_str())
            .bind(new.priority.unwrap_or_default().as_str())
            .bind(new.progress.unwrap_or_default())
            .bind(new.due_at.map(Timestamp::as_microsecond))
            .bind(list(new.tags.as_deref().unwrap_or_default()))
            .bind(now())
            .fetch_all(pool)
            .await)?;
        rows.into_iter().next().map(Task::from).ok_or(sqlx::Error::RowNotFound)
    }

    /// Changes a task in one statement, so that two changes at once do not undo each other.
    pub(crate) async fn update(&self, user: i64, id: i64, changes: &Changes) -> sqlx::Result<Option<Task>> {
        const SQL: &str = "UPDATE tasks SET title = COALESCE($3, title), \
                           description = CASE WHEN $4 THEN $5 ELSE description END, \
                           status = COALESCE($6, status), priority = COALESCE($7, priority), \
                           progress = CASE WHEN COALESCE($6, status) = 'completed' THEN 100 \
                           ELSE COALESCE($8, progress) END, \
                           due_at = CASE WHEN $9 THEN $10 ELSE due_at END, tags = COALESCE($11, tags), \
                           completed_at = CASE WHEN COALESCE($6, status) = 'completed' \
                           THEN COALESCE(completed_at, $12) END, updated_at = $12 \
                           WHERE user_id = $1 AND id = $2 \
                           RETURNING id, title, description, status, priority, progress, due_at, tags, completed_at, \
                           created_at, updated_at";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(id)
            .bind(&changes.title)
            .bind(changes.description.is_some())
            .bind(changes.description.clone().flatten())
            .bind(changes.status.map(Choice::as_str))
            .bind(changes.priority.map(Choice::as_str))
            .bind(changes.progress)
            .bind(changes.due_at.is_some())
            .bind(changes.due_at.flatten().map(Timestamp::as_microsecond))
            .bind(changes.tags.as_deref().map(list))
            .bind(now())
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().next().map(Task::from))
    }

    /// Whether there was one to delete.
    pub(crate) async fn delete(&self, user: i64, id: i64) -> sqlx::Result<bool> {
        const SQL: &str = "DELETE FROM tasks WHERE user_id = $1 AND id = $2";
        self.0.delete(SQL, user, id).await
    }
}
