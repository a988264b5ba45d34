//! Sockets of the unix domain: what a text like `unix:/run/x.sock` means, listening in the place of a file that nobody
//! answers behind, and the file of a socket, which goes when its proxy does.

use std::fmt;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixSocket, UnixStream};

use crate::address::Listener;
use crate::listen::{AddressError, BACKLOG, ListenError};
use crate::socket::Socket;

/// What texts of such addresses begin with; `unix://` does as well.
const SCHEME: &str = "unix:";
/// Bytes of a path or a name: what the kernel has room for, less the zero at the end of a path or the start of a name.
const LONGEST: usize = 107;
/// How long a dial rests when the server's queue is full. Over TCP the kernel waits, in the unix domain it says so.
const QUEUE_REST: Duration = Duration::from_millis(5);

/// An address of the unix domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnixAddress {
    /// A file.
    File(PathBuf),
    /// `unix:@NAME`: a name without a file, known to this network namespace.
    Abstract(String),
    /// That of a client, which mostly has none.
    Unnamed,
}

/// Whether a text is one of the unix domain: `unix:PATH`, `unix://PATH`, `unix:@NAME`.
pub(crate) fn is_meant(text: &str) -> bool {
    text.starts_with(SCHEME)
}

impl UnixAddress {
    /// The address a text means that [`is_meant`] to be one.
    ///
    /// # Errors
    /// There is no path behind the scheme, or one that no socket can have.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let path = text.strip_prefix(SCHEME).unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        let fail =
            |problem: &str| AddressError::Unix { address: text.to_owned(), problem: problem.to_owned() };
        match path.strip_prefix('@') {
            _ if path.is_empty() => Err(fail("missing path; write it like unix:/run/proxy.sock")),
            _ if path.contains('\0') => Err(fail("a zero byte in its path")),
            Some("") => Err(fail("missing name; write it like unix:@proxy")),
            name if name.unwrap_or(path).len() > LONGEST => {
                Err(fail(&format!("it is longer than the {LONGEST} bytes that there is room for")))
            }
            Some(name) => Ok(Self::Abstract(name.to_owned())),
            None => Ok(Self::File(path.into())),
        }
    }

    /// That of the other end of an accepted connection.
    pub(crate) fn of_peer(address: &SocketAddr) -> Self {
        let name =
            address.as_abstract_name().map(|name| Self::Abstract(String::from_utf8_lossy(name).into_owned()));
        let file = || address.as_pathname().map(|path| Self::File(path.to_owned()));
        name.or_else(file).unwrap_or(Self::Unnamed)
    }

    /// As the system takes it: names without a file begin with a zero.
    fn system_path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Abstract(name) => format!("\0{name}").into(),
            Self::Unnamed => PathBuf::new(),
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{SCHEME}{}", path.display()),
            Self::Abstract(name) => write!(f, "{SCHEME}@{name}"),
            Self::Unnamed => f.write_str(SCHEME),
        }
    }
}

/// The file of a listening socket. Dropping it removes the file, unless another one is there by now. While the listener
/// is closed and this is kept, connections are refused as at a closed port.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, number, and time of creation: numbers are given again.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Whoever may not remove it leaves a file that the next listener replaces.
            let _left_behind = fs::remove_file(&self.path);
        }
    }
}

/// Listens. A socket's file that nobody answers behind is replaced.
///
/// # Errors
/// Somebody answers there, the file is no socket, or it cannot be made.
pub(crate) fn listen(address: &UnixAddress) -> Result<(Listener, Option<SocketFile>), ListenError> {
    bound(address, None).map_err(|error| {
        let text = address.to_string();
        ListenError::Unix { path: text.strip_prefix(SCHEME).unwrap_or(&text).to_owned(), error }
    })
}

/// The same for nobody but the user this runs as.
///
/// # Errors
/// As there.
pub(crate) fn listen_privately(address: &UnixAddress) -> io::Result<(Listener, Option<SocketFile>)> {
    if matches!(address, UnixAddress::Abstract(_)) {
        let problem = "a name without a file is open to every user; give it a path";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    bound(address, Some(Mode::RUSR | Mode::WUSR))
}

fn bound(address: &UnixAddress, mode: Option<Mode>) -> io::Result<(Listener, Option<SocketFile>)> {
    let (socket, name) = (UnixSocket::new_stream()?, address.system_path());
    if let Some(mode) = mode {
        // The file gets the mode of its socket: there is no moment in which others could connect.
        rustix::fs::fchmod(&socket, mode)?;
    }
    match (socket.bind(&name), address) {
        (Err(error), UnixAddress::File(path)) if error.kind() == io::ErrorKind::AddrInUse => {
            clear(path)?;
            socket.bind(path)?;
        }
        (bound, _) => bound?,
    }
    let file = match address {
        UnixAddress::File(path) => Some(SocketFile { path: path.clone(), identity: identity(path)? }),
        _ => None,
    };
    Ok((Listener::unix(socket.listen(BACKLOG)?)?, file))
}

/// Removes the file of a socket that nobody answers behind.
///
/// # Errors
/// Somebody does, or it is no socket.
fn clear(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let problem = "the file there is no socket; remove it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
    }
    let probe = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Err(Errno::ACCESS) => Err(Errno::ACCESS.into()),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Connects; waits while the server's queue is full.
///
/// # Errors
/// Nobody listens there, or may be reached.
pub(crate) async fn connect(address: &UnixAddress) -> io::Result<Socket> {
    let path = address.system_path();
    loop {
        match UnixStream::connect(&path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_REST).await,
            done => return Socket::unix(done?.into_std()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<UnixAddress, String> {
        UnixAddress::parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_mean_files_and_names() {
        let file = |path: &str| Ok(UnixAddress::File(path.into()));
        assert_eq!(parse("unix:/run/x.sock"), file("/run/x.sock"));
        assert_eq!(parse("unix:///run/x.sock"), file("/run/x.sock"));
        assert_eq!(parse("unix:x.sock"), file("x.sock"));
        assert_eq!(parse("unix:@name"), Ok(UnixAddress::Abstract("name".into())));
        assert_eq!(parse("unix://@name"), Ok(UnixAddress::Abstract("name".into())));
        for text in ["unix:/run/x.sock", "unix:@name"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert!(!is_meant("unix.example.com:80") && is_meant("unix:"));
    }

    #[test]
    fn texts_that_mean_none_say_why() {
        for (text, problem) in [
            ("unix:", "address unix:: missing path; write it like unix:/run/proxy.sock"),
            ("unix://", "address unix://: missing path; write it like unix:/run/proxy.sock"),
            ("unix:@", "address unix:@: missing name; write it like unix:@proxy"),
            ("unix:a\0b", "address unix:a\0b: a zero byte in its path"),
        ] {
            assert_eq!(parse(text).unwrap_err(), problem);
        }
        let long = |bytes: usize| format!("unix:/{}", "x".repeat(bytes - 1));
        assert!(parse(&long(LONGEST)).is_ok());
        assert!(
            parse(&long(LONGEST + 1))
                .unwrap_err()
                .ends_with("longer than the 107 bytes that there is room for")
        );
    }

    #[tokio::test]
    async fn the_longest_path_and_name_can_be_listened_on() {
        let folder = tempfile::tempdir().unwrap();
        let stem = format!("unix:{}/", folder.path().display());
        for text in [
            format!("{stem}{}", "x".repeat(SCHEME.len() + LONGEST - stem.len())),
            format!("unix:@{:x>LONGEST$}", std::process::id()),
        ] {
            let address = UnixAddress::parse(&text).unwrap();
            let (_listener, _file) = listen(&address).unwrap_or_else(|error| panic!("{text}: {error}"));
            connect(&address).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[tokio::test]
    async fn a_stale_file_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = UnixAddress::File(path.clone());
        let held = listen(&address).unwrap();
        let busy = listen(&address).unwrap_err().to_string();
        assert_eq!(busy, format!("listen unix {}: bind: address already in use", path.display()));
        drop(held);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "data").unwrap();
        let refused = listen(&UnixAddress::File(path.clone())).unwrap_err().to_string();
        assert!(
            refused.ends_with("the file there is no socket; remove it, or choose another path"),
            "{refused}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[tokio::test]
    async fn a_file_of_somebody_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let held = listen(&UnixAddress::File(path.clone())).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(held);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_private_one_is_its_owners_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _held = listen_privately(&UnixAddress::File(path.clone())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(listen_privately(&UnixAddress::Abstract("x".into())).is_err());
    }

    #[tokio::test]
    async fn a_dial_waits_for_room_in_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = UnixAddress::File(path);
        let _first = connect(&address).await.unwrap();
        let mut second = std::pin::pin!(connect(&address));
        let waits = tokio::time::timeout(QUEUE_REST * 4, &mut second).await;
        assert!(waits.is_err(), "the queue has room for one");
        listener.accept().await.unwrap();
        second.await.unwrap();
    }
}
