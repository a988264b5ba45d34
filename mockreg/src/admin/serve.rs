//! The admin port as a listener: its connections, how many and for how long each may keep the port waiting.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::core::Core;

/// Connections served at once; later ones wait in the kernel's queue. Scripts, a scraper and some followers of the
/// journal need a few.
const MAX_CONNECTIONS: usize = 256;
/// Most bytes of a request's head. All routes and headers that mean anything here are far shorter.
const MAX_HEAD: usize = 64 << 10;
/// How long a client may leave an answer unread.
const WRITE_STALL: Duration = Duration::from_secs(600);
/// After the system had no file descriptor left, the next attempt comes so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the admin port until told to stop. Dropping the future ends what is still under way.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let timeout = core.limits.header_timeout;
    let routes = super::routes(core);
    let mut connections = JoinSet::new();
    let stopping = stop.clone();
    tokio::select! {
        () = accept(&listener, &routes, timeout, &stopping, &mut connections) => {}
        // A sender that is gone has stopped as well.
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Accepts connections for ever.
async fn accept(
    listener: &TcpListener,
    routes: &Router,
    timeout: Duration,
    stop: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        while connections.try_join_next().is_some() {}
        let permit = Arc::clone(&room).acquire_owned().await.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (routes, stop) = (routes.clone(), stop.clone());
                connections.spawn(async move {
                    if let Err(error) = speak(stream, routes, timeout, stop).await {
                        tracing::debug!(%error, "admin connection ended early");
                    }
                    drop(permit);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "an admin connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Runs HTTP on one connection. `timeout` bounds the head of a request and the silence between two.
async fn speak(
    stream: TcpStream,
    routes: Router,
    timeout: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    // Options that the system refuses change how fast a dead client is noticed, no more.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_STALL));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
