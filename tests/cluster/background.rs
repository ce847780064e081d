//! Threads that serve beside a test, let go of when it ends.

use tokio::runtime::{Builder, Runtime};

pub struct Background(Option<Runtime>);

impl Background {
    pub fn start() -> Background {
        Background(Some(Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()))
    }

    /// Listens on a port of the system's choice, and has `serve` work there.
    pub fn listen<F: Future<Output = ()> + Send + 'static>(
        &self,
        serve: impl FnOnce(tokio::net::TcpListener) -> F + Send + 'static,
    ) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let runtime = self.0.as_ref().expect("it runs until it is dropped");
        runtime.spawn(async move { serve(tokio::net::TcpListener::from_std(listener).unwrap()).await });
        port
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
