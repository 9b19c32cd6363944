//! The way to a mail server: its addresses one after the other, and no more words than a mail
//! server has.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::super::sender::SendError;
use super::dialogue::{TOO_LATE, away};

/// Bytes that a server may say during one attempt: a line without end would fill the memory.
const MOST_SAID: usize = 1 << 20;

/// Connects to the first address that answers, and waits for the greeting. An address that is
/// silent leaves the others their share of the time.
///
/// # Errors
/// [`SendError::Away`] with what the last address had to say.
pub(super) async fn dial(
    (host, port): (&str, u16),
    encrypted: Option<&TlsParameters>,
    hello: &ClientId,
    deadline: Instant,
) -> Result<AsyncSmtpConnection, SendError> {
    let unknown = |error: io::Error| SendError::Away(format!("its name has no address: {error}"));
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(unknown)?.collect();
    first_that_answers(&addresses, encrypted, hello, deadline).await
}

async fn first_that_answers(
    addresses: &[SocketAddr],
    encrypted: Option<&TlsParameters>,
    hello: &ClientId,
    deadline: Instant,
) -> Result<AsyncSmtpConnection, SendError> {
    let mut last = SendError::Away("its name has no address".into());
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        let rest = deadline.saturating_duration_since(Instant::now());
        let share = rest / u32::try_from(left).unwrap_or(u32::MAX);
        let opened = match encrypted {
            Some(_) => {
                let parameters = encrypted.cloned();
                AsyncSmtpConnection::connect_tokio1(address, Some(share), hello, parameters, None)
                    .await
                    .map_err(away)
            }
            None => match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => greeted(socket, hello).await,
                Ok(Err(error)) => Err(SendError::Away(format!("no connection: {error}"))),
                Err(_) => Err(SendError::Away(TOO_LATE.into())),
            },
        };
        match opened {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn greeted(socket: TcpStream, hello: &ClientId) -> Result<AsyncSmtpConnection, SendError> {
    let left = MOST_SAID;
    let bounded = Box::new(Bounded { socket, left });
    let connection = AsyncSmtpConnection::connect_with_transport(bounded, hello);
    connection.await.map_err(away)
}

/// A socket of which only so much is read.
#[derive(Debug)]
struct Bounded {
    socket: TcpStream,
    left: usize,
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        let Some(left) = self.left.checked_sub(read) else {
            let problem = "it says more than a mail server does";
            return Poll::Ready(Err(io::Error::other(problem)));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use tokio::net::TcpSocket;

    use super::*;

    /// Listens, and takes no more connections: whoever comes waits.
    async fn silent() -> (tokio::net::TcpListener, Vec<tokio::task::JoinHandle<()>>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = (0..4).map(|_| {
            tokio::spawn(async move {
                let _kept = TcpStream::connect(address).await;
                std::future::pending::<()>().await;
            })
        });
        let waiting = waiting.collect();
        while timeout(Duration::from_millis(500), TcpStream::connect(address))
            .await
            .is_ok()
        {}
        (listener, waiting)
    }

    #[tokio::test]
    async fn an_address_that_is_silent_leaves_the_others_their_share_of_the_time() {
        let (deaf, _waiting) = silent().await;
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [deaf.local_addr().unwrap(), good.local_addr().unwrap()];
        let server = std::thread::spawn(move || {
            let (mut socket, _) = good.accept().unwrap();
            let mut heard = String::new();
            socket.write_all(b"220 hi\r\n").unwrap();
            BufReader::new(&socket).read_line(&mut heard).unwrap();
            socket.write_all(b"250 hi\r\n").unwrap();
            heard
        });
        let deadline = Instant::now() + Duration::from_secs(8);
        let hello = ClientId::default();
        let opened = first_that_answers(&addresses, None, &hello, deadline).await;
        assert!(opened.is_ok(), "{:?}", opened.err());
        assert!(server.join().unwrap().starts_with("EHLO"));
    }
}
