//! Reads Rust just well enough to see what a file imports and how long its functions are.

/// One file of `src/` without its comments, literals and tests; lines keep their numbers.
pub(crate) struct Source {
    /// The path below `src/`, as in `session/redis.rs`.
    pub(crate) path: String,
    tokens: Vec<Token>,
    lines: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// A path in the code, with groups taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// Whether it begins with `::`, so that its first segment is a crate.
    pub(crate) is_global: bool,
    /// Whether it stands in a `use`.
    pub(crate) is_use: bool,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) length: usize,
}

impl Source {
    pub(crate) fn new(path: impl Into<String>, text: &str) -> Self {
        let path = path.into();
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            return Self { path, tokens: Vec::new(), lines: 0 };
        }
        let (tokens, tested_lines) = without_tests(&tokens(&without_comments_and_literals(text)));
        Self { path, tokens, lines: text.lines().count() - tested_lines }
    }

    /// The module's path from the crate's root: `session/redis.rs` is `[session, redis]`, `lib.rs` is `[]`.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs");
        path.split('/').filter(|part| !matches!(*part, "mod" | "lib")).collect()
    }

    /// Lines, those of tests left out.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| token.text.as_str())
    }

    /// Whether the file declares `mod name`.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.tokens.windows(2).any(|pair| pair[0].text == "mod" && pair[1].text == name)
    }

    /// Where `sequence` of tokens stands.
    pub(crate) fn find<'a>(&'a self, sequence: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        let is_there =
            move |window: &&[Token]| window.iter().zip(sequence).all(|(token, wanted)| token.text == *wanted);
        self.tokens.windows(sequence.len()).filter(is_there).map(|window| window[0].line)
    }

    /// All paths of the file, in imports and in code.
    pub(crate) fn paths(&self) -> Vec<NamedPath> {
        let mut paths = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let is_use = index > 0 && self.text(index - 1) == "use";
            let is_global = self.text(index) == "::" && (index == 0 || !ends_a_path(self.text(index - 1)));
            if is_global || begins_a_path(self.text(index)) || (is_use && self.text(index) == "{") {
                index = self.path_at(index + usize::from(is_global), &[], is_global, is_use, &mut paths).max(index + 1);
            } else {
                index += 1;
            }
        }
        paths
    }

    /// Reads the path or group at `index` below `prefix`; returns where it ends.
    fn path_at(
        &self,
        mut index: usize,
        prefix: &[String],
        is_global: bool,
        is_use: bool,
        paths: &mut Vec<NamedPath>,
    ) -> usize {
        let line = self.tokens.get(index).map_or(0, |token| token.line);
        let mut segments = prefix.to_vec();
        loop {
            if self.text(index) == "{" {
                return self.group_at(index, &segments, is_global, is_use, paths);
            }
            if !is_word(self.text(index)) && self.text(index) != "*" {
                break;
            }
            segments.push(self.text(index).to_owned());
            index += 1;
            let goes_on = is_word(self.text(index + 1)) || matches!(self.text(index + 1), "{" | "*");
            if self.text(index) != "::" || !goes_on {
                break;
            }
            index += 1;
        }
        paths.push(NamedPath { segments, line, is_global, is_use });
        index
    }

    fn group_at(
        &self,
        open: usize,
        prefix: &[String],
        is_global: bool,
        is_use: bool,
        paths: &mut Vec<NamedPath>,
    ) -> usize {
        let mut index = open + 1;
        while index < self.tokens.len() && self.text(index) != "}" {
            let end = self.path_at(index, prefix, is_global, is_use, paths);
            index = end.max(index + 1);
            if self.text(index) == "as" {
                index += 2;
            }
            if self.text(index) == "," {
                index += 1;
            }
        }
        index + 1
    }

    /// All functions with a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let is_function = |index: &usize| self.text(*index) == "fn" && is_word(self.text(index + 1));
        (0..self.tokens.len()).filter(is_function).filter_map(|index| self.function_at(index)).collect()
    }

    fn function_at(&self, index: usize) -> Option<Function> {
        let open = body_or_end(&self.tokens, index)?;
        if self.text(open) == ";" {
            return None;
        }
        let close = closing(&self.tokens, open);
        let line = self.tokens[index].line;
        Some(Function { name: self.text(index + 1).to_owned(), line, length: self.tokens[close].line - line + 1 })
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words after which a path begins, which are none themselves.
const BEFORE_PATHS: [&str; 12] =
    ["use", "return", "in", "as", "mut", "dyn", "impl", "for", "if", "match", "while", "else"];

fn begins_a_path(text: &str) -> bool {
    is_word(text) && !BEFORE_PATHS.contains(&text)
}

/// Whether a `::` after `text` goes on with a path (`a::`, `<T>::`) instead of beginning one.
fn ends_a_path(text: &str) -> bool {
    begins_a_path(text) || text == ">"
}

/// The `{` of the item at `index`, or the `;` that ends it; not the one of an array's type.
fn body_or_end(tokens: &[Token], index: usize) -> Option<usize> {
    let mut depth = 0i32;
    (index..tokens.len()).find(|at| {
        match tokens[*at].text.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" | ";" => return depth == 0,
            _ => {}
        }
        false
    })
}

/// The index of the brace that closes the one at `open`, or of the last token.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// Leaves out every item under `#[cfg(test)]` and `#[cfg(all(test, ..))]`; tells how many lines that were.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, usize) {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut lines = 0;
    let mut index = 0;
    while index < tokens.len() {
        let Some(after) = test_attribute_at(tokens, index) else {
            kept.push(tokens[index].clone());
            index += 1;
            continue;
        };
        let end = body_or_end(tokens, after);
        let end = end.map_or(tokens.len() - 1, |at| if tokens[at].text == "{" { closing(tokens, at) } else { at });
        lines += tokens[end].line - tokens[index].line + 1;
        index = end + 1;
    }
    (kept, lines)
}

/// Where the attribute ends if one that asks for `test` begins at `index`.
fn test_attribute_at(tokens: &[Token], index: usize) -> Option<usize> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    if (text(index), text(index + 1), text(index + 2)) != ("#", "[", "cfg") {
        return None;
    }
    let end = (index..tokens.len()).find(|at| text(*at) == "]")?;
    let inside: Vec<_> = (index + 3..end).map(text).collect();
    let asks = inside.starts_with(&["(", "test", ")"]) || inside.starts_with(&["(", "all", "(", "test"]);
    asks.then_some(end + 1)
}

/// Words, `::` and single signs.
fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(length);
            tokens.push(Token { text: text.to_owned(), line: number + 1 });
            rest = after.trim_start();
        }
    }
    tokens
}

/// Blanks comments, strings and characters; line breaks stay.
pub(crate) fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = literal_length(rest, code.chars().next_back());
        if length == 0 {
            let first = rest.chars().next().expect("not empty");
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..length].chars().filter(|sign| *sign == '\n'));
            rest = &rest[length..];
        }
    }
    code
}

/// How long the comment or literal is that `text` begins with; 0 if it begins with code.
fn literal_length(text: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|sign| sign.is_alphanumeric() || sign == '_');
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment_length(text);
    }
    if text.starts_with('"') {
        return quoted_length(text);
    }
    if text.starts_with('\'') {
        return character_length(text);
    }
    if in_word {
        return 0;
    }
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| text.starts_with(prefix)).unwrap_or_default();
    let hashes = text[prefix.len()..].chars().take_while(|sign| *sign == '#').count();
    if prefix.is_empty() || !text[prefix.len() + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = prefix.len() + hashes + 1;
    text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
}

fn block_comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// A string that begins with its quotation mark.
fn quoted_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal; 0 for a lifetime.
fn character_length(text: &str) -> usize {
    let mut signs = text.char_indices().skip(1);
    match signs.next() {
        Some((_, '\\')) => {
            signs.next();
            signs.find(|(_, sign)| *sign == '\'').map_or(text.len(), |(at, _)| at + 1)
        }
        Some(_) => signs.next().filter(|(_, sign)| *sign == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}
