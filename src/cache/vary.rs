//! Several responses of one URL: which request fields choose, and which variants there are (RFC 9111, 4.1).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY},
};
use sha2::{Digest, Sha256};

use super::policy::directives::{elements, list, parts};

/// A variant: the hash of the request fields that choose it; all zero where nothing chooses.
pub type Variant = [u8; 16];

/// What is known of a URL's variants: stored beside them, and remembered by each instance.
///
/// A new generation forgets all variants at once: entries of another generation are not read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) generation: u64,
    pub(crate) names: Vec<HeaderName>,
    pub(crate) variants: Vec<Variant>,
}

/// More variants of one URL replace each other: a client must not fill the cache with invented languages.
pub(crate) const MAX_VARIANTS: usize = 32;
/// More fields choose nothing sensibly.
const MAX_NAMES: usize = 32;
const MAGIC: &[u8; 4] = b"tkv\x01";

impl Index {
    /// No variants yet.
    pub(crate) fn new(generation: u64, names: Vec<HeaderName>) -> Self {
        Self { generation, names, variants: Vec::new() }
    }

    /// The number under which `variant` lies.
    pub(crate) fn position(&self, variant: &Variant) -> Option<usize> {
        self.variants.iter().position(|known| known == variant)
    }

    /// The index with `variant` in it, and its number; of the new `generation` where other fields choose.
    pub(crate) fn admit(
        seen: Option<Self>,
        names: Vec<HeaderName>,
        variant: Variant,
        generation: u64,
    ) -> (Self, usize) {
        let mut index = match seen {
            Some(index) if index.names == names => index,
            _ => Self::new(generation, names),
        };
        if let Some(number) = index.position(&variant) {
            return (index, number);
        }
        let number = if index.variants.len() < MAX_VARIANTS {
            index.variants.push([0; 16]);
            index.variants.len() - 1
        } else {
            usize::from(variant[0]) % MAX_VARIANTS
        };
        index.variants[number] = variant;
        (index, number)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(16 + 16 * self.variants.len() + 24 * self.names.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.push(u8::try_from(self.names.len()).expect("at most 32 names"));
        bytes.push(u8::try_from(self.variants.len()).expect("at most 32 variants"));
        self.variants.iter().for_each(|variant| bytes.extend_from_slice(variant));
        let names: Vec<&str> = self.names.iter().map(HeaderName::as_str).collect();
        bytes.extend_from_slice(names.join(",").as_bytes());
        bytes.into()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "memory keeps what it wrote"))]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (&[names, variants], rest) = rest.split_first_chunk::<2>()?;
        let (variants, text) = rest.split_at_checked(usize::from(variants) * 16)?;
        let (variants, _) = variants.as_chunks::<16>();
        let read: Vec<_> = elements(text).map(HeaderName::from_bytes).collect::<Result<_, _>>().ok()?;
        let is_whole = read.len() == usize::from(names) && read.len() <= MAX_NAMES && variants.len() <= MAX_VARIANTS;
        is_whole.then(|| Self { generation: u64::from_le_bytes(*generation), names: read, variants: variants.to_vec() })
    }
}

/// The fields that a response says to choose by, sorted; `None` for `*`, names that are none, and too many.
pub(crate) fn names_of(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = list(response, &VARY).map(HeaderName::from_bytes).collect::<Result<Vec<_>, _>>().ok()?;
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    let is_fit = names.len() <= MAX_NAMES && names.iter().all(|name| name != "*");
    is_fit.then_some(names)
}

/// The variant that a request asks for.
///
/// Several lines of one field are one, and spaces around its commas do not count; what is not known to be a list means
/// something else with a comma more. Of `Accept`, `Accept-Encoding` and `Accept-Language` empty elements do not count; of the
/// last two neither do letters' case and a weight of one, and of `Accept-Encoding` neither does the order.
pub(crate) fn select(names: &[HeaderName], request: &HeaderMap) -> Variant {
    let mut variant = Variant::default();
    if names.is_empty() {
        return variant;
    }
    let mut sum = Sha256::new();
    for name in names {
        sum.update(name.as_str());
        sum.update(if request.contains_key(name) { [1] } else { [0] });
        if [ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) {
            preferences(name, request).iter().for_each(|element| add(&mut sum, element));
        } else if name == ACCEPT {
            list(request, name).for_each(|element| add(&mut sum, element));
        } else {
            request.get_all(name).iter().flat_map(|line| parts(line.as_bytes())).for_each(|part| add(&mut sum, part));
        }
        sum.update(b"\n");
    }
    variant.copy_from_slice(&sum.finalize()[..16]);
    variant
}

fn add(sum: &mut Sha256, element: &[u8]) {
    sum.update(element);
    sum.update(b",");
}

/// What a client prefers, in one spelling (RFC 9110, 12.5.3 and 12.5.4).
///
/// The order of languages stays: it means nothing by the RFC, and handlers choose by it.
fn preferences(name: &HeaderName, request: &HeaderMap) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = list(request, name).map(preference).collect();
    if *name == ACCEPT_ENCODING {
        all.sort_unstable();
        all.dedup();
    }
    all
}

fn preference(element: &[u8]) -> Vec<u8> {
    let plain = without_spaces(element).to_ascii_lowercase();
    let weight = plain.iter().position(|&byte| byte == b';').unwrap_or(plain.len());
    match &plain[weight..] {
        b";q=1" | b";q=1." | b";q=1.0" | b";q=1.00" | b";q=1.000" => plain[..weight].to_vec(),
        _ => plain,
    }
}

/// Without the spaces beside its signs, where they mean nothing (RFC 9110, 5.6.6).
fn without_spaces(element: &[u8]) -> Vec<u8> {
    let is_sign = |byte: &u8| matches!(byte, b';' | b'=');
    let mut plain: Vec<u8> = Vec::with_capacity(element.len());
    for byte in element {
        if is_sign(byte) {
            plain.truncate(plain.trim_ascii_end().len());
        }
        if !byte.is_ascii_whitespace() || !plain.last().is_some_and(is_sign) {
            plain.push(*byte);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    /// RFC 9111, 4.1: fields match when they can be made the same by whitespace and by combining lines.
    #[test]
    fn selection_normalises_lines_and_spaces() {
        let names = names_of(&headers(&[("vary", "Accept, accept-language"), ("vary", "ACCEPT")])).expect("fit");
        assert_eq!(names.len(), 2);
        let of = |lines: &[(&'static str, &str)]| select(&names, &headers(lines));
        assert_eq!(of(&[("accept", "a,b")]), of(&[("accept", " a ,  b")]));
        assert_eq!(of(&[("accept", "a,b")]), of(&[("accept", "a"), ("accept", "b")]));
        assert_ne!(of(&[("accept", "a,b")]), of(&[("accept", "b,a")]));
        assert_ne!(of(&[("accept", "")]), of(&[]));
        assert_ne!(of(&[("accept", "x")]), of(&[("accept-language", "x")]));
    }

    /// RFC 9110, 12.5.3 and 12.5.4: what means the same is the same variant.
    #[test]
    fn preferences_have_one_spelling() {
        let of = |name: &'static str, value: &str| select(&[HeaderName::from_static(name)], &headers(&[(name, value)]));
        let encoding = |value: &str| of("accept-encoding", value);
        for same in ["gzip, br", "br,gzip", "GZIP;q=1.0, br", "br, gzip; q=1, br"] {
            assert_eq!(encoding(same), encoding("br, gzip"), "{same}");
        }
        for other in ["br", "br, gzip;q=0.5", "br;q=0, gzip", ""] {
            assert_ne!(encoding(other), encoding("br, gzip"), "{other}");
        }
        let language = |value: &str| of("accept-language", value);
        assert_eq!(language("de-DE, en;q=0.5"), language("de-de;q=1, EN; q=0.5"));
        assert_ne!(language("de, en"), language("en, de"));
        assert_ne!(of("x-a", "A"), of("x-a", "a"));
    }

    #[test]
    fn the_number_of_variants_is_bounded() {
        let mut index = None;
        for n in 0..100u8 {
            let (next, number) = Index::admit(index, vec![], [n; 16], 7);
            assert!(number < MAX_VARIANTS);
            assert_eq!(next.position(&[n; 16]), Some(number));
            index = Some(next);
        }
        assert_eq!(index.map(|index| (index.variants.len(), index.generation)), Some((MAX_VARIANTS, 7)));
    }

    #[test]
    fn other_names_begin_a_new_generation() {
        let (first, _) = Index::admit(None, vec![], [1; 16], 1);
        let (second, number) = Index::admit(Some(first), vec![http::header::ACCEPT], [2; 16], 2);
        assert_eq!((second.generation, second.variants.len(), number), (2, 1, 0));
    }

    proptest! {
        #[test]
        fn decodes_what_it_encoded(generation: u64, variants in prop::collection::vec(any::<Variant>(), 0..32), two: bool) {
            let names = if two { vec![http::header::ACCEPT, http::header::ACCEPT_ENCODING] } else { vec![] };
            let index = Index { generation, names, variants };
            prop_assert_eq!(Index::decode(&index.encode()), Some(index));
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Index::decode(&bytes);
            let _ = Index::decode(&[MAGIC.as_slice(), &bytes].concat());
        }
    }
}
