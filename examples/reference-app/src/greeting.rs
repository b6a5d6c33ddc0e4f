//! What is said at the start: where it is, and what to try.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
};

use crate::seed;

pub(crate) struct Greeting {
    /// Where each instance listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether sessions, limits and caches are in the memory of this process.
    pub(crate) shares_memory: bool,
    pub(crate) has_demo: bool,
    /// The administrator's password, if it was made just now.
    pub(crate) admin_password: Option<String>,
}

impl Greeting {
    /// Output that nobody reads is no reason to stop.
    pub(crate) fn say(&self) {
        let _ = std::io::stdout().write_all(self.text().as_bytes());
    }

    fn text(&self) -> String {
        let urls: Vec<_> = self.addresses.iter().map(|address| url(*address)).collect();
        let mut text = format!("towerkeep reference app: {}\n", urls[0]);
        for other in &urls[1..] {
            text += &format!("  another instance:      {other}\n");
        }
        if urls.len() > 1 {
            let shared = if self.shares_memory { "the memory of this process: no Redis is named" } else { "Redis" };
            text += &format!("  they share the database, and {shared}\n");
        }
        text += &format!("  all routes, to try:    {}/docs\n", urls[0]);
        if let Some(password) = &self.admin_password {
            text += &format!("user admin has the password {password}, shown only this once\n");
        }
        for line in self.curls(&urls) {
            text += &format!("\n  {line}");
        }
        text + "\n\n"
    }

    /// What shows something at once.
    fn curls(&self, urls: &[String]) -> Vec<String> {
        let (first, last) = (&urls[0], &urls[urls.len() - 1]);
        let (name, password) = if self.has_demo { seed::DEMO } else { ("you", "your-password") };
        let json = format!("--json '{{\"username\":\"{name}\",\"password\":\"{password}\"}}'");
        let register = format!("curl -i {first}/api/v1/auth/register {json}");
        let mut lines = if self.has_demo { Vec::new() } else { vec![register] };
        lines.push(format!("curl -i -c cookies.txt {first}/api/v1/auth/login {json}"));
        lines.push(format!("curl -i -b cookies.txt '{last}/api/v1/search?q=http'"));
        lines.push(format!("curl -i '{last}/api/v1/challenges'"));
        lines.push(format!("curl -i '{first}/api/v1/trending/week?limit=3'"));
        lines
    }
}

/// Where a browser on this machine reaches it.
fn url(address: SocketAddr) -> String {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    format!("http://{}", if address.ip().is_unspecified() { local } else { address })
}
