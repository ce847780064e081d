//! PostgreSQL: a log-in, `SELECT 1`, and the version it tells at the start, by `tokio-postgres` over a connection of ours.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::config::system::Encryption;
use crate::model::service::TlsOptions;
use crate::probe::protocol::{Dialer, Login, Pipe, Server, Step, Steps, Trouble, excerpt};

pub async fn greet(
    dialer: &Dialer,
    server: &Server,
    encryption: Encryption,
    tls: &TlsOptions,
    login: &Login,
    database: Option<&str>,
    steps: &Steps,
) -> Result<Option<String>, Trouble> {
    let stream = dialer.connect(server, steps).await?;
    steps.reach(Step::Protocol);
    let mut config = tokio_postgres::Config::new();
    config.user(login.user.as_deref().unwrap_or("postgres")).application_name("probemesh");
    if let Some(password) = &login.password {
        config.password(password);
    }
    if let Some(database) = database {
        config.dbname(database);
    }
    config.ssl_mode(match encryption {
        Encryption::Never => SslMode::Disable,
        Encryption::Offered => SslMode::Prefer,
        Encryption::Always => SslMode::Require,
    });
    let failed = Arc::new(std::sync::Mutex::new(None));
    let securing = Securing { dialer, host: &server.host, options: tls, steps, failed: failed.clone() };
    let (client, mut connection) = config.connect_raw(Carried(Box::new(stream)), securing).await.map_err(|error| {
        // What the handshake said is better than what became of it on its way here.
        failed.lock().expect("no holder panics").take().unwrap_or_else(|| trouble(&error))
    })?;
    let version = connection.parameter("server_version").map(str::to_owned);
    tokio::select! {
        // The connection works only while someone waits for it.
        ended = &mut connection => match ended {
            Ok(()) => Err(Trouble::protocol("the server closed the connection")),
            Err(error) => Err(trouble(&error)),
        },
        answered = client.simple_query("SELECT 1") => answered.map(|_| version).map_err(|error| trouble(&error)),
    }
}

fn trouble(error: &tokio_postgres::Error) -> Trouble {
    if let Some(said) = error.as_db_error() {
        let code = said.code().code();
        return match code.get(..2) {
            // Classes of errors by appendix A of its manual: 28 is a log-in that is refused.
            Some("28") => Trouble::auth(format!("the server refuses the log-in: {} ({code})", excerpt(said.message()))),
            _ => Trouble::protocol(format!("the server answers: {} ({code})", excerpt(said.message()))),
        };
    }
    let said = error.to_string();
    if said.contains("TLS") {
        return Trouble::new(Step::Tls, "the server offers no TLS");
    }
    if said.contains("authentication") || said.contains("invalid configuration") {
        return Trouble::auth("the server asks for a password");
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {}", excerpt(&cause.to_string()))).unwrap_or_default();
    match said.as_str() {
        "connection closed" => Trouble::protocol("the server closed the connection without an answer"),
        _ => Trouble::protocol(format!("the server does not speak PostgreSQL as it should: {}{cause}", excerpt(&said))),
    }
}

/// The TLS handshake, in mid-conversation.
struct Securing<'a> {
    dialer: &'a Dialer,
    host: &'a str,
    options: &'a TlsOptions,
    steps: &'a Steps,
    failed: Arc<std::sync::Mutex<Option<Trouble>>>,
}

impl<'a> TlsConnect<Carried> for Securing<'a> {
    type Stream = Carried;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Carried, Trouble>> + Send + 'a>>;

    fn connect(self, pipe: Carried) -> Self::Future {
        Box::pin(async move {
            let secured = self.dialer.secure(pipe.0, self.host, self.options, self.steps).await;
            self.steps.reach(Step::Protocol);
            secured.map(Carried).inspect_err(|trouble| *self.failed.lock().expect("no holder panics") = Some(trouble.clone()))
        })
    }
}

/// A connection, in the clear or not.
struct Carried(Box<dyn Pipe>);

impl TlsStream for Carried {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Carried {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Carried {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}
