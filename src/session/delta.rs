//! What a request does to its session: changes that are kept apart and replayed onto whatever is stored.

use std::{
    borrow::Cow,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use serde_json::value::RawValue;

use super::{
    applied::{Applied, ChangeId},
    data::Data,
};
use crate::{Error, Result};

type Replay = Arc<dyn Fn(Option<&RawValue>) -> Result<Box<RawValue>> + Send + Sync>;

/// The changes of one request, in order.
#[derive(Clone, Default)]
pub(super) struct Delta {
    ops: Vec<Op>,
    /// The idle time that the session gets.
    pub(super) idle: Option<Duration>,
}

#[derive(Clone)]
struct Op {
    key: Box<str>,
    /// What the key holds after it, as far as this request knows.
    value: Option<Box<RawValue>>,
    /// Computes the value anew from what is stored; without it the value stands as it is.
    replay: Option<Replay>,
    /// The write that brought it, or tried to: a session that holds that write's changes has this one already.
    id: Option<ChangeId>,
}

impl Delta {
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.idle.is_none()
    }

    pub(super) fn insert(&mut self, key: &str, value: Box<RawValue>) {
        self.set(Op { key: key.into(), value: Some(value), replay: None, id: None });
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.set(Op { key: key.into(), value: None, replay: None, id: None });
    }

    /// What stood there before no longer matters: one operation per key is enough.
    fn set(&mut self, op: Op) {
        self.ops.retain(|earlier| earlier.key != op.key);
        self.ops.push(op);
    }

    pub(super) fn update(&mut self, key: &str, value: Box<RawValue>, replay: Replay) {
        self.ops.push(Op { key: key.into(), value: Some(value), replay: Some(replay), id: None });
    }

    /// What this request made of `key`: nothing said, removed, or a value.
    pub(super) fn view(&self, key: &str) -> Option<Option<&RawValue>> {
        self.ops.iter().rev().find(|op| &*op.key == key).map(|op| op.value.as_deref())
    }

    /// Puts changes made since back behind these.
    pub(super) fn append(&mut self, later: Self) {
        self.idle = later.idle.or(self.idle);
        for op in later.ops {
            if op.replay.is_some() { self.ops.push(op) } else { self.set(op) }
        }
    }

    /// How many changes there are.
    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// The bytes of the values they hold.
    pub(super) fn weight(&self) -> usize {
        self.ops.iter().filter_map(|op| op.value.as_ref()).map(|value| value.get().len()).sum()
    }

    /// These changes without what a replay makes no use of: what they came to when they were made.
    pub(super) fn to_replay(&self) -> Self {
        let value = |op: &Op| if op.replay.is_some() { None } else { op.value.clone() };
        let bare = |op: &Op| Op { key: op.key.clone(), value: value(op), replay: op.replay.clone(), id: op.id };
        Self { ops: self.ops.iter().map(bare).collect(), idle: self.idle }
    }

    /// How many of the changes are computed anew with each replay.
    pub(super) fn updates(&self) -> usize {
        self.ops.iter().filter(|op| op.replay.is_some()).count()
    }

    /// Before they are sent: names changes that must not be made twice. Those that set a value do no harm.
    pub(super) fn name(&mut self) {
        if self.ops.iter().all(|op| op.replay.is_none() || op.id.is_some()) {
            return;
        }
        let id = ChangeId::new();
        for op in &mut self.ops {
            op.id.get_or_insert(id);
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ChangeId> + '_ {
        self.ops.iter().filter_map(|op| op.id)
    }

    /// Replays onto `data` those of the changes that it does not hold yet: each was made on top of those before it, so
    /// what is older than one that it holds is in it, too.
    pub(super) fn apply(&self, data: &Data, applied: &Applied) -> Result<Data> {
        let due = self.due(applied);
        if due.is_empty() {
            return Ok(data.clone());
        }
        let mut map = data.to_map()?;
        for op in due {
            let value = match (&op.replay, &op.value) {
                (Some(replay), _) => Cow::Owned(replay(map.get(&*op.key).map(AsRef::as_ref))?),
                (None, Some(value)) => Cow::Borrowed(&**value),
                (None, None) => {
                    map.remove(&*op.key);
                    continue;
                }
            };
            map.insert(Cow::Borrowed(&op.key), value);
        }
        Data::from_map(&map)
    }

    fn due(&self, applied: &Applied) -> &[Op] {
        let made = self.ops.iter().rposition(|op| op.id.is_some_and(|id| applied.holds(id)));
        &self.ops[made.map_or(0, |last| last + 1)..]
    }

    /// Those of the changes that a session with these does not hold yet.
    pub(super) fn beyond(&self, applied: &Applied) -> Self {
        Self { ops: self.due(applied).to_vec(), idle: self.idle }
    }

    /// As [`apply`](Delta::apply), where others than the request that made the changes wait for it: a closure of the
    /// application that panics is an error here, and takes nobody down.
    pub(super) fn apply_apart(&self, data: &Data, applied: &Applied) -> Result<Data> {
        let applied = panic::catch_unwind(AssertUnwindSafe(|| self.apply(data, applied)));
        applied.unwrap_or_else(|_| Err(Error::invalid("a closure of update panicked when it was run again")))
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delta({} changes)", self.ops.len())
    }
}

/// A value as JSON text.
pub(super) fn write(value: &impl serde::Serialize) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| Error::invalid("a session's value cannot be written as JSON").with_source(error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{clock::Timestamp, session::data::read};

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, i64),
        Remove(u8),
        Add(u8, i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..4u8, -9..9i64).prop_map(|(key, n)| Step::Insert(key, n)),
            (0..4u8).prop_map(Step::Remove),
            (0..4u8, -9..9i64).prop_map(|(key, n)| Step::Add(key, n)),
        ];
        proptest::collection::vec(step, 0..12)
    }

    fn model(map: &mut BTreeMap<String, i64>, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Insert(key, n) => drop(map.insert(key.to_string(), *n)),
                Step::Remove(key) => drop(map.remove(&key.to_string())),
                Step::Add(key, n) => *map.entry(key.to_string()).or_default() += n,
            }
        }
    }

    fn push(delta: &mut Delta, base: &Data, step: &Step) {
        match step {
            Step::Insert(key, n) => delta.insert(&key.to_string(), write(n).expect("a number")),
            Step::Remove(key) => delta.remove(&key.to_string()),
            Step::Add(key, n) => {
                let (key, n) = (key.to_string(), *n);
                let add: Replay =
                    Arc::new(move |old| write(&(old.map(read::<i64>).transpose()?.unwrap_or_default() + n)));
                let seen = delta.view(&key).unwrap_or_else(|| base.raw(&key));
                let value = add(seen).expect("numbers");
                delta.update(&key, value, add);
            }
        }
    }

    fn data_of(map: &BTreeMap<String, i64>) -> Data {
        Data::from_json(&serde_json::to_string(map).expect("a map")).expect("an object")
    }

    #[test]
    fn what_came_before_a_change_that_is_held_is_not_made_again() {
        let (mut kept, mut later) = (Delta::default(), Delta::default());
        push(&mut kept, &Data::empty(), &Step::Insert(0, 5));
        push(&mut later, &Data::empty(), &Step::Add(0, 1));
        later.name();
        let applied = Applied::default().with(later.ids(), Timestamp::default());
        kept.append(later);
        let stored = Data::from_json(r#"{"0":6}"#).expect("an object");
        assert_eq!(kept.apply(&stored, &applied).expect("numbers"), stored);
        assert_eq!(kept.apply(&Data::empty(), &Applied::default()).expect("numbers"), stored);
    }

    proptest! {
        #[test]
        fn replay_is_what_a_map_would_do(seen in steps(), stored in steps(), mine in steps()) {
            let (mut first, mut now) = (BTreeMap::new(), BTreeMap::new());
            model(&mut first, &seen);
            model(&mut now, &stored);
            let base = data_of(&first);
            let mut delta = Delta::default();
            mine.iter().for_each(|step| push(&mut delta, &base, step));

            // What the request itself reads is its changes over what it loaded.
            let mut view = first.clone();
            model(&mut view, &mine);
            for key in (0..4).map(|key: u8| key.to_string()) {
                let read_back = delta.view(&key).unwrap_or_else(|| base.raw(&key));
                prop_assert_eq!(read_back.map(|raw| read::<i64>(raw).expect("a number")), view.get(&key).copied());
            }
            // What is stored in the end is its changes over what others stored meanwhile.
            model(&mut now, &mine);
            let mut concurrent = BTreeMap::new();
            model(&mut concurrent, &stored);
            prop_assert_eq!(delta.apply(&data_of(&concurrent), &Applied::default()).expect("numbers"), data_of(&now));
        }

        #[test]
        fn changes_that_a_session_holds_are_not_made_again(stored in steps(), first in steps(), later in steps()) {
            let mut map = BTreeMap::new();
            model(&mut map, &stored);
            let base = data_of(&map);
            let mut delta = Delta::default();
            first.iter().for_each(|step| push(&mut delta, &base, step));
            delta.name();
            let once = delta.apply(&base, &Applied::default()).expect("numbers");
            let applied = Applied::default().with(delta.ids(), Timestamp::default());
            if delta.updates() > 0 {
                prop_assert_eq!(delta.apply(&once, &applied).expect("numbers"), once.clone());
            }
            // What came after the first try is made, however often that one is.
            later.iter().for_each(|step| push(&mut delta, &base, step));
            delta.name();
            model(&mut map, &first);
            model(&mut map, &later);
            prop_assert_eq!(delta.apply(&once, &applied).expect("numbers"), data_of(&map));
        }
    }
}
