//! The words of a search, and how each database is asked for them.
//!
//! 1. A search is made of words, whatever stands between them: no character is an operator. Each word is quoted on its
//!    way to the database, so there is no syntax to get wrong.
//! 2. What is found has all words; the last one may be the beginning of a word, so that results come while one types.

/// The words that a text is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(Vec<String>);

/// A snippet has about so many characters.
const SNIPPET: usize = 160;

/// So many of them stand before the word that was found.
const BEFORE: usize = 40;

impl Words {
    /// Takes a text apart; one without a letter or digit has no words.
    pub(crate) fn of(text: &str) -> Self {
        Self(split(text).map(|(_, word)| word.to_owned()).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As SQLite's FTS5 wants it, among this user's documents.
    pub(crate) fn fts5(&self, user: i64) -> String {
        let words = self.each(|word| format!("\"{word}\""), " AND ", " *");
        format!("owner : \"u{user}\" AND {{title description tags host}} : ({words})")
    }

    /// As PostgreSQL's `to_tsquery` wants it.
    pub(crate) fn tsquery(&self) -> String {
        self.each(|word| format!("'{word}'"), " & ", ":*")
    }

    fn each(&self, quote: impl Fn(&String) -> String, and: &str, prefix: &str) -> String {
        self.0.iter().map(quote).collect::<Vec<_>>().join(and) + prefix
    }

    /// Whether this word of a text, in small letters, is one that was searched for.
    fn find(&self, word: &str) -> bool {
        let Some((last, whole)) = self.0.split_last() else { return false };
        word.starts_with(&last.to_lowercase()) || whole.iter().any(|own| own.to_lowercase() == word)
    }
}

/// The words of a text with where they begin.
///
/// Only blanks and ASCII separate: what else is no part of a word, each database knows for its own texts.
fn split(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let separates = |c: char| c.is_whitespace() || c.is_control() || (c.is_ascii() && !c.is_ascii_alphanumeric());
    let parts = text.split(separates).map(move |word| (word.as_ptr().addr() - text.as_ptr().addr(), word));
    parts.filter(|(_, word)| word.chars().any(char::is_alphanumeric))
}

/// The part of a text around the first word that was found in it, on one line; else its beginning.
pub(crate) fn snippet(text: &str, words: &Words) -> String {
    let found = split(text).find(|(_, word)| words.find(&word.to_lowercase())).map_or(0, |(at, _)| at);
    // A snippet begins with a word, unless it begins with the text.
    let earliest = text[..found].char_indices().rev().nth(BEFORE - 1).map_or(0, |(at, _)| at);
    let begin = match earliest {
        0 => 0,
        _ => split(&text[earliest..])
            .map(|(at, _)| earliest + at)
            .find(|at| *at > earliest)
            .map_or(found, |at| at.min(found)),
    };
    let end = text[begin..].char_indices().nth(SNIPPET).map_or(text.len(), |(at, _)| begin + at);
    let line = text[begin..end].split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{line}{}", if begin > 0 { "…" } else { "" }, if end < text.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_taken_literally() {
        let words = Words::of(" a\"b* NEAR(c, 2) OR title:d & !e|f \\g\0h' ^i {j} +k <-> l;--");
        assert_eq!(words.0, ["a", "b", "NEAR", "c", "2", "OR", "title", "d", "e", "f", "g", "h", "i", "j", "k", "l"]);
        assert_eq!(Words::of("NOT it's").tsquery(), "'NOT' & 'it' & 's':*");
        let asked = Words::of("NOT it's").fts5(7);
        assert_eq!(asked, "owner : \"u7\" AND {title description tags host} : (\"NOT\" AND \"it\" AND \"s\" *)");
    }

    #[test]
    fn what_has_no_word_is_empty() {
        for text in ["", "  ", "*", "\"\"", "()", "\0", "—", "\u{1F512}", "\u{301}", "'; --"] {
            assert!(Words::of(text).is_empty(), "{text:?}");
        }
        assert!(!Words::of("日本").is_empty());
    }

    #[test]
    fn a_snippet_begins_near_the_word() {
        let text = format!("{} Hidden needle, {}", "hay ".repeat(50), "straw ".repeat(50));
        let told = snippet(&text, &Words::of("nothing need"));
        assert!(
            told.starts_with("…hay hay") && told.contains(" Hidden needle, straw") && told.ends_with('…'),
            "{told}"
        );
        assert!((140..=162).contains(&told.chars().count()), "{told}");
        assert_eq!(snippet("ein\nkurzer  Text", &Words::of("text")), "ein kurzer Text");
        assert_eq!(snippet(&"hay ".repeat(50), &Words::of("x")).find('…'), Some(159));
    }

    #[test]
    fn a_snippet_is_cut_between_characters() {
        for text in ["ä".repeat(500), format!("{} ß {}", "äö ".repeat(30), "ü".repeat(400)), String::new()] {
            for word in ["ß", "ä", "ü", "x"] {
                assert!(snippet(&text, &Words::of(word)).chars().count() <= SNIPPET + 2);
            }
        }
    }
}
