//! Values out of a few, each with a name: in JSON, in queries and in the database alike.

use serde_json::Value;

use crate::{form::Checked, rules};

/// One of a few named values.
pub(crate) trait Choice: Copy + 'static {
    /// All of them, in the order they are told in.
    const ALL: &'static [Self];

    /// The name, the same as in JSON.
    fn as_str(self) -> &'static str;

    /// The value of this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.as_str() == name)
    }
}

/// The rule of a field that takes one of them.
pub(crate) fn one_of<T: Choice>(value: Value) -> Checked<T> {
    let names = || T::ALL.iter().map(|choice| choice.as_str()).collect::<Vec<_>>().join(", ");
    T::named(&rules::string(value)?).ok_or_else(|| format!("must be one of {}", names()).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::database::tasks::{Priority, Status};

    fn names<T: Choice + serde::Serialize>() -> Vec<Value> {
        T::ALL.iter().inspect(|choice| assert_eq!(json!(choice), choice.as_str())).map(|c| json!(c)).collect()
    }

    #[test]
    fn a_name_is_the_same_in_json_and_in_the_database() {
        assert_eq!(names::<Status>(), ["pending", "in_progress", "completed", "cancelled"]);
        assert_eq!(names::<Priority>(), ["low", "medium", "high", "urgent"]);
    }

    #[test]
    fn says_what_it_takes() {
        assert_eq!(one_of::<Priority>(json!("high")), Ok(Priority::High));
        let told = one_of::<Priority>(json!("High")).expect_err("names are written small");
        assert_eq!(told, "must be one of low, medium, high, urgent");
        assert!(one_of::<Priority>(json!(1)).is_err());
    }
}
