//! A real SMTP server, aiosmtpd, in a process of its own that ends with the test.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::target::Authority;

/// Where Debian's packages are installed for; another Python before it in the path knows nothing of them.
const PYTHON: &str = "/usr/bin/python3";

pub struct SmtpServer {
    pub port: u16,
    /// The authority its certificate is from.
    pub ca: String,
    process: Child,
    mails: Receiver<Value>,
    _folder: tempfile::TempDir,
}

impl SmtpServer {
    /// `security` is `plain`, `starttls` or `tls`; its certificate is for `localhost`.
    pub fn start(security: &str, account: Option<&str>) -> SmtpServer {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/server.py");
        let mut command = Command::new(PYTHON);
        command.arg("-W").arg("ignore").arg(script).arg(security);
        if security != "plain" {
            let (certificate, key) = authority.issue("localhost", 2090);
            for (name, text) in [("certificate.pem", certificate), ("key.pem", key)] {
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                command.arg(path);
            }
        }
        command.args(account);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().expect("it tells its port; Debian's python3-aiosmtpd is installed").unwrap().parse().unwrap();
        let (told, mails) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = told.send(serde_json::from_str(&line).expect("each line is a mail"));
            }
        });
        SmtpServer { port, ca: authority.pem, process, mails, _folder: folder }
    }

    /// The next mail it took; it told of it before it said yes.
    pub fn mail(&self) -> Value {
        self.mails.recv_timeout(Duration::from_secs(10)).expect("a mail came")
    }

    /// The next mail, if there is one by now.
    pub fn next(&self) -> Option<Value> {
        self.mails.try_recv().ok()
    }

    pub fn has_no_mail(&self) -> bool {
        self.mails.try_recv().is_err()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
