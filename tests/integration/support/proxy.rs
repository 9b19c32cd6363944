//! A way to a service that a test can stop, cut or close, while everybody else's goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::vigie::LONG;

/// The last statement of a transaction, as PostgreSQL's protocol has it.
const COMMIT: &[u8] = b"COMMIT\0";

/// What happens to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    Open,
    /// They wait, and so does who connects: nobody is told anything.
    Stalled,
    /// The same for the Kafka client of this name alone; all others' pass.
    StalledFor(&'static str),
    /// Every connection is cut at once, and new ones as soon as they are made.
    Cut,
}

/// Where a connection is cut that commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Before the server hears of it: nothing is stored.
    Unheard,
    /// After the server has done it: its answer is lost.
    Unanswered,
}

/// A listener on the loopback before a service.
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    cuts: Arc<Cuts>,
    /// Serves on a thread of its own: a test that blocks does not stall the way.
    runtime: Option<tokio::runtime::Runtime>,
}

/// How many of the next commits are cut, and where; and what happened so far.
#[derive(Default)]
struct Cuts {
    unheard: AtomicUsize,
    unanswered: AtomicUsize,
    done: AtomicUsize,
    visitors: AtomicUsize,
}

impl Proxy {
    /// An open way to the service at `target`, on a port that is free.
    pub fn to(target: &str) -> Self {
        Self::rewriting("127.0.0.1", target, |_| None)
    }

    /// The same under another address of the loopback, which the service's certificate lacks.
    pub fn under(host: &str, target: &str) -> Self {
        Self::rewriting(host, target, |_| None)
    }

    /// The same to a Kafka broker on the loopback. Brokers tell clients where to find them: the
    /// port that they tell becomes the way's.
    pub fn to_kafka(broker: &str) -> Self {
        let (host, port) = broker.rsplit_once(':').unwrap();
        let told = |port: u16| [host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
        let real = told(port.parse().unwrap());
        Self::rewriting(host, broker, |way| Some((real, told(way))))
    }

    fn rewriting(host: &str, target: &str, rewrite: impl FnOnce(u16) -> Option<Rewrite>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind((host, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (way, told) = watch::channel(Way::Open);
        let cuts = Arc::new(Cuts::default());
        let route = Route {
            target: target.to_owned(),
            way: told,
            cuts: Arc::clone(&cuts),
            rewrite: rewrite(address.port()),
        };
        runtime.spawn(accept(listener, route));
        Self {
            address,
            way,
            cuts,
            runtime: Some(runtime),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From here on.
    pub fn set(&self, way: Way) {
        self.way.send(way).unwrap();
    }

    /// Cuts the next connection that commits, once.
    pub fn cut_next_commit(&self, place: Commit) {
        let counter = match place {
            Commit::Unheard => &self.cuts.unheard,
            Commit::Unanswered => &self.cuts.unanswered,
        };
        counter.fetch_add(1, Ordering::AcqRel);
    }

    /// How many commits were cut so far.
    pub fn commits_cut(&self) -> usize {
        self.cuts.done.load(Ordering::Acquire)
    }

    /// How many connections were made so far.
    pub fn visitors(&self) -> usize {
        self.cuts.visitors.load(Ordering::Acquire)
    }

    /// Waits until there are more than that.
    pub async fn visited_since(&self, before: usize) {
        super::eventually_within(LONG, "somebody connects", || async {
            (self.visitors() > before).then_some(())
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cuts {
    /// Takes one of the cuts that were asked for.
    fn take(&self, counter: &AtomicUsize) -> bool {
        let less = |left: usize| left.checked_sub(1);
        let taken = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        if taken.is_ok() {
            self.done.fetch_add(1, Ordering::AcqRel);
        }
        taken.is_ok()
    }
}

/// What the server says, and what the client hears instead; of one length.
type Rewrite = (Vec<u8>, Vec<u8>);

/// Where connections go, and what happens to them.
#[derive(Clone)]
struct Route {
    target: String,
    way: watch::Receiver<Way>,
    cuts: Arc<Cuts>,
    rewrite: Option<Rewrite>,
}

async fn accept(listener: std::net::TcpListener, route: Route) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        route.cuts.visitors.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(serve(client, route.clone()));
    }
}

/// Both halves end together: whichever ends first drops the other.
async fn serve(client: TcpStream, mut route: Route) {
    if !open(&mut route.way).await {
        return;
    }
    let Ok(server) = TcpStream::connect(&route.target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (answers, answered) = watch::channel(Answers::Pass);
    let way = route.way.clone();
    tokio::select! {
        () = to(from_client, to_server, way.clone(), route.cuts, answers) => {}
        () = back(from_server, to_client, way.clone(), route.rewrite, answered) => {}
        () = cut(way) => {}
    }
}

/// What the server's answers are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Pass,
    /// The next one is lost, and the connection with it.
    Lost,
}

async fn to(
    mut from: OwnedReadHalf,
    mut into: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    cuts: Arc<Cuts>,
    answers: watch::Sender<Answers>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if !open(&mut way).await {
            return;
        }
        let chunk = &bytes[..read];
        if !unless_stalled_for(&mut way, chunk).await {
            return;
        }
        if chunk.windows(COMMIT.len()).any(|part| part == COMMIT) {
            if cuts.take(&cuts.unheard) {
                return;
            }
            if cuts.take(&cuts.unanswered) {
                // The other half has gone: so has the connection.
                let _ = answers.send(Answers::Lost);
            }
        }
        if into.write_all(chunk).await.is_err() {
            return;
        }
    }
}

async fn back(
    mut from: OwnedReadHalf,
    mut into: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    rewrite: Option<Rewrite>,
    answered: watch::Receiver<Answers>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if !open(&mut way).await || *answered.borrow() == Answers::Lost {
            return;
        }
        if let Some((real, told)) = &rewrite {
            let chunk = &mut bytes[..read];
            while let Some(at) = chunk.windows(real.len()).position(|part| part == real) {
                chunk[at..at + told.len()].copy_from_slice(told);
            }
        }
        if into.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits until the way is open; false when it is cut.
async fn open(way: &mut watch::Receiver<Way>) -> bool {
    let free = way.wait_for(|way| *way != Way::Stalled).await;
    free.is_ok_and(|way| *way != Way::Cut)
}

/// Waits until whoever sends this is not held back by its name, which every request begins with.
async fn unless_stalled_for(way: &mut watch::Receiver<Way>, chunk: &[u8]) -> bool {
    let free = way.wait_for(|way| match way {
        Way::StalledFor(name) => !chunk
            .windows(name.len())
            .any(|part| part == name.as_bytes()),
        _ => true,
    });
    free.await.is_ok_and(|way| *way != Way::Cut)
}

async fn cut(mut way: watch::Receiver<Way>) {
    // An error means that the test is over, which ends everything.
    let _ = way.wait_for(|way| *way == Way::Cut).await;
}
