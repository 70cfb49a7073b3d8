//! Who may connect: whoever knows the name and the secret, and is of the same user.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::stream::Stream;

/// Whoever connects and proves nothing for so long is let go.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);
const PROOF_BYTES: usize = 32;

/// What both ends have to know.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; 32]);

/// A socket under a name in the kernel's memory: it leaves no file, and goes with the process. Processes
/// of another network namespace do not see it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    name: [u8; 32],
    secret: [u8; 32],
    frame_bytes_max: usize,
}

impl Listener {
    /// Listens under a name that nobody can guess. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(frame_bytes_max: usize) -> io::Result<Self> {
        let (name, secret) = (random()?, random()?);
        let socket = net::UnixListener::bind_addr(&address(&name)?)?;
        socket.set_nonblocking(true)?;
        let socket = UnixListener::from_std(socket)?;
        Ok(Self { socket, name, secret, frame_bytes_max })
    }

    /// What others need to connect, to be told only to those who belong to the grid.
    #[must_use]
    pub fn door(&self) -> ([u8; 32], Secret) {
        (self.name, Secret(self.secret))
    }

    /// Waits for somebody to connect. Whether it may is found out by [`Guard::admit`].
    ///
    /// # Errors
    /// What the system says; it may go on after that.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.socket.accept().await?.0)
    }

    /// What admits connections, apart from the socket.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard { secret: Secret(self.secret), frame_bytes_max: self.frame_bytes_max }
    }
}

/// Admits those who know the secret.
#[derive(Clone, Copy)]
pub struct Guard {
    secret: Secret,
    frame_bytes_max: usize,
}

impl Guard {
    /// Lets both ends prove that they know the secret.
    ///
    /// # Errors
    /// The other end does not, or it is of another user.
    pub async fn admit(self, mut socket: UnixStream) -> io::Result<Stream> {
        same_user(&socket)?;
        let proved = async {
            hear(&mut socket, self.secret.proof(Side::Connects)).await?;
            socket.write_all(&self.secret.proof(Side::Listens)).await
        };
        in_time(proved).await?;
        Ok(Stream::new(socket, self.frame_bytes_max))
    }
}

/// Connects to a listener of this host.
///
/// # Errors
/// Nobody listens under this name here, it does not know the secret, or it is of another user.
pub async fn connect(name: [u8; 32], secret: Secret, frame_bytes_max: usize) -> io::Result<Stream> {
    let socket = net::UnixStream::connect_addr(&address(&name)?)?;
    socket.set_nonblocking(true)?;
    let mut socket = UnixStream::from_std(socket)?;
    same_user(&socket)?;
    let proved = async {
        socket.write_all(&secret.proof(Side::Connects)).await?;
        hear(&mut socket, secret.proof(Side::Listens)).await
    };
    in_time(proved).await?;
    Ok(Stream::new(socket, frame_bytes_max))
}

#[derive(Clone, Copy)]
enum Side {
    Connects,
    Listens,
}

impl Secret {
    /// Different for the two sides, so that neither can give back what it heard.
    fn proof(self, side: Side) -> [u8; PROOF_BYTES] {
        let said: &[u8] = match side {
            Side::Connects => b"grid share: connects",
            Side::Listens => b"grid share: listens",
        };
        *blake3::keyed_hash(&self.0, said).as_bytes()
    }
}

async fn hear(socket: &mut UnixStream, proof: [u8; PROOF_BYTES]) -> io::Result<()> {
    let mut heard = [0; PROOF_BYTES];
    socket.read_exact(&mut heard).await?;
    // Compared in constant time.
    match blake3::Hash::from(heard) == blake3::Hash::from(proof) {
        true => Ok(()),
        false => Err(denied("it does not know the secret")),
    }
}

fn same_user(socket: &UnixStream) -> io::Result<()> {
    match socket.peer_cred()?.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(denied("it is of another user")),
    }
}

fn denied(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned())
}

async fn in_time(proved: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    tokio::time::timeout(PROOF_TIMEOUT, proved).await.map_err(late)?
}

/// In the abstract namespace.
fn address(name: &[u8; 32]) -> io::Result<SocketAddr> {
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    SocketAddr::from_abstract_name(format!("grid-{hex}"))
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
