//! What a server is asked, told by `MONITOR`.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::RedisServer;

/// Listens to one server's commands.
pub struct Monitor {
    lines: BufReader<TcpStream>,
    client: redis::aio::MultiplexedConnection,
    marks: u32,
}

impl Monitor {
    pub async fn start(server: &RedisServer) -> Self {
        let mut lines = BufReader::new(TcpStream::connect(server.address()).await.expect("it listens"));
        lines.get_mut().write_all(b"MONITOR\r\n").await.expect("it reads");
        let mut ok = String::new();
        lines.read_line(&mut ok).await.expect("it answers");
        assert_eq!(ok, "+OK\r\n");
        Self { lines, client: server.client().await, marks: 0 }
    }

    /// The commands since the last call that name a key with `prefix`, without what scripts do inside.
    pub async fn seen(&mut self, prefix: &str) -> Vec<String> {
        self.marks += 1;
        let mark = format!("mark-{}-", self.marks);
        redis::cmd("ECHO").arg(&mark).exec_async(&mut self.client).await.expect("up");
        let prefix = format!("\"{prefix}");
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).await.expect("it goes on");
            if line.contains(&mark) {
                return seen;
            }
            if line.contains(&prefix) && !line.contains(" lua]") {
                seen.push(line.split('"').nth(1).expect("a command").to_uppercase());
            }
        }
    }
}
