//! Which hosts have entries of their own.

use std::sync::Arc;

use http::uri::Authority;

use super::reference::without_default_port;
use crate::{Error, Result};

/// The hosts that are cached; all, where none are named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Option<Arc<[Box<str>]>>);

impl Hosts {
    /// These hosts only, sorted and in one spelling.
    pub(crate) fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Self {
        let spell = |host: T| without_default_port(None, host.as_ref()).to_ascii_lowercase().into();
        let mut hosts: Vec<Box<str>> = hosts.into_iter().map(spell).collect();
        hosts.sort_unstable();
        Self(Some(hosts.into()))
    }

    /// The name of `host` in keys; nothing where it is not one of ours.
    ///
    /// The default port is as good as none, of either scheme: a proxy ends TLS (RFC 9110, 4.2).
    pub(crate) fn own<'h>(&'h self, host: &'h str) -> Option<&'h str> {
        let Some(hosts) = &self.0 else { return Some(host) };
        let asked = without_default_port(None, host).as_bytes();
        let lower = || asked.iter().map(u8::to_ascii_lowercase);
        let number = hosts.binary_search_by(|own| own.bytes().cmp(lower())).ok()?;
        Some(&hosts[number])
    }

    /// # Errors
    /// Invalid, naming what is no host.
    pub(crate) fn verify(&self) -> Result<()> {
        let Some(hosts) = &self.0 else { return Ok(()) };
        if hosts.is_empty() {
            return Err(Error::invalid("hosts without a host would cache nothing; leave it out or name one"));
        }
        let is_host = |host: &str| !host.contains(['@', '*']) && host.parse::<Authority>().is_ok();
        let unfit: Vec<&str> = hosts.iter().map(AsRef::as_ref).filter(|host| !is_host(host)).collect();
        if unfit.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "hosts that are none: {:?}; write a name, with its port where that is not the default one",
            unfit.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_in_any_letters_and_with_the_default_port() {
        let hosts = Hosts::new(["Shop.example:443", "a.example", "a.example:8080", "[::1]"]);
        for (asked, own) in [
            ("shop.example", "shop.example"),
            ("SHOP.example:80", "shop.example"),
            ("a.example:8080", "a.example:8080"),
            ("a.example:443", "a.example"),
            ("[::1]:80", "[::1]"),
        ] {
            assert_eq!(hosts.own(asked), Some(own), "{asked}");
        }
        for other in ["", "shop.example.", "shop.example:8080", "x.shop.example", "shop", "a@shop.example"] {
            assert_eq!(hosts.own(other), None, "{other}");
        }
        assert_eq!(Hosts::default().own("Any:80"), Some("Any:80"));
    }

    #[test]
    fn what_is_no_host_is_told() {
        assert!(Hosts::default().verify().is_ok());
        assert!(Hosts::new(["a.example:8080", "[::1]"]).verify().is_ok());
        for unfit in ["", "https://a.example", "a.example/b", "*.example", "a b", "me@a.example"] {
            let error = Hosts::new(["fit.example", unfit]).verify().expect_err(unfit);
            assert!(error.is_invalid() && !error.to_string().contains("fit.example"), "{error}");
        }
        assert!(Hosts::new::<&str>([]).verify().is_err());
    }
}
