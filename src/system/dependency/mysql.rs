//! MySQL and MariaDB: a log-in, `SELECT 1`, and the version, by `mysql_async` as it is built here: without TLS.

use std::io;
use std::net::SocketAddr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, IoError, OptsBuilder};

use crate::probe::protocol::{Dialer, Login, Server, Step, Steps, Trouble, broken_words, connect_words, excerpt};

/// The codes of a refused log-in (dev.mysql.com/doc/mysql-errors).
const REFUSED: [u16; 5] = [1044, 1045, 1130, 1698, 3118];
const ONLY_TLS: u16 = 3159;

pub async fn greet(
    dialer: &Dialer,
    server: &Server,
    login: &Login,
    database: Option<&str>,
    steps: &Steps,
) -> Result<Option<String>, Trouble> {
    let address = dialer.resolve(server, steps).await?[0];
    let place = SocketAddr::new(address, server.port);
    let options = OptsBuilder::default()
        .ip_or_hostname(address.to_string())
        .tcp_port(server.port)
        .user(login.user.clone())
        .pass(login.password.clone())
        .db_name(database)
        // The socket of a server on this machine says nothing of its port.
        .prefer_socket(false)
        // Nothing is asked of it but what is meant to be.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60));
    // The library connects and is greeted in one go.
    steps.reach(Step::Connect);
    let mut connection = Conn::new(options).await.map_err(|error| trouble(&error, place))?;
    steps.reach(Step::Protocol);
    let version: Option<String> = connection.query_first("SELECT VERSION()").await.map_err(|error| trouble(&error, place))?;
    // Whether it takes leave in good form does not matter.
    let _ = connection.disconnect().await;
    Ok(version)
}

fn trouble(error: &Error, place: SocketAddr) -> Trouble {
    match error {
        Error::Server(server) if REFUSED.contains(&server.code) => {
            Trouble::auth(format!("the server refuses the user name, the password or the host it is used from ({})", server.code))
        }
        Error::Server(server) if server.code == ONLY_TLS => {
            Trouble::new(Step::Tls, "the server takes only connections with TLS, which this check does not speak")
        }
        Error::Server(server) => Trouble::protocol(format!("the server answers: {} ({})", excerpt(&server.message), server.code)),
        Error::Io(IoError::Io(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Trouble::new(Step::Connect, connect_words(error, place))
            }
            io::ErrorKind::UnexpectedEof => Trouble::protocol("the server closed the connection before it had answered"),
            _ => Trouble::protocol(broken_words(error)),
        },
        Error::Driver(DriverError::ConnectionClosed) => Trouble::protocol("the server closed the connection before it had answered"),
        Error::Driver(_) | Error::Other(_) => Trouble::protocol("the server does not speak MySQL"),
        Error::Url(_) => Trouble::protocol("the address cannot be used"),
        #[expect(unreachable_patterns, reason = "with other features of the library there are more")]
        _ => Trouble::protocol("the server cannot be asked"),
    }
}
