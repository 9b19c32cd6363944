//! A web server of one's own that keeps every request and behaves as it is told.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::eventually_within;
use super::sink::stack;
use super::vigie::LONG;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub at: Instant,
}

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status, headers (each ended by CRLF) and a body.
    Status(u16, String, String),
    /// A status and headers, and a body that never comes to its end.
    Unfinished(u16, String),
    /// Nothing, as long as the client waits.
    Silence,
    /// A bad request, explained without end.
    Endless,
}

/// A running server; it ends when it is dropped.
pub struct Receiver {
    shared: Arc<Shared>,
    listens: Option<JoinHandle<()>>,
    scheme: &'static str,
}

struct Shared {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    /// The first ones once each, the last one from then on.
    answers: Mutex<Vec<Answer>>,
    written: AtomicU64,
    ended: AtomicBool,
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// An answer without anything special.
pub fn status(code: u16) -> Answer {
    Answer::Status(code, String::new(), String::new())
}

impl Receiver {
    /// In the clear.
    pub fn start() -> Self {
        Self::listen(None, "http")
    }

    /// With the stack's certificate.
    pub fn start_with_tls() -> Self {
        let folder = stack("VIGIE_STACK_TLS");
        let folder = Path::new(&folder);
        let certificates = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap();
        let certificates = certificates.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        Self::listen(Some(Arc::new(config)), "https")
    }

    fn listen(tls: Option<Arc<ServerConfig>>, scheme: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            tls,
            requests: Mutex::default(),
            answers: Mutex::new(vec![status(200)]),
            written: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let listens = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for socket in listener.incoming() {
                    if shared.ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that hangs up early is the client's affair.
                    std::thread::spawn(move || drop(shared.serve(socket.unwrap())));
                }
            }
        });
        Self {
            shared,
            listens: Some(listens),
            scheme,
        }
    }

    /// Its address with this path.
    pub fn url(&self, path: &str) -> String {
        let port = self.shared.address.port();
        format!("{}://localhost:{port}{path}", self.scheme)
    }

    /// From now on it answers so: the first ones once each, the last one always.
    pub fn answer(&self, answers: &[Answer]) {
        *self.shared.answers.lock().unwrap() = answers.to_vec();
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Bytes of an endless answer that somebody took.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Waits for that many requests.
    pub async fn wait_for(&self, requests: usize) -> Vec<Request> {
        eventually_within(LONG, &format!("{requests} requests"), async || {
            Some(self.requests()).filter(|kept| kept.len() >= requests)
        })
        .await
    }
}

impl Shared {
    fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        match &self.tls {
            None => self.answer(socket),
            Some(tls) => {
                let session = ServerConnection::new(Arc::clone(tls)).unwrap();
                self.answer(StreamOwned::new(session, socket))
            }
        }
    }

    fn answer(&self, mut wire: impl Wire) -> std::io::Result<()> {
        let request = read_request(&mut wire)?;
        self.requests.lock().unwrap().push(request);
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            match answers.len() {
                1 => answers[0].clone(),
                _ => answers.remove(0),
            }
        };
        match answer {
            Answer::Status(code, headers, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {code} Said\r\n{headers}Content-Length: {length}\r\n");
                wire.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())?;
                wire.flush()
            }
            Answer::Unfinished(code, headers) => {
                let head = format!("HTTP/1.1 {code} Said\r\n{headers}Content-Length: 100\r\n\r\n");
                wire.write_all(format!("{head}because").as_bytes())?;
                wire.flush()?;
                wire.read(&mut [0]).map(drop)
            }
            Answer::Silence => wire.read(&mut [0]).map(drop),
            Answer::Endless => {
                wire.write_all(b"HTTP/1.1 400 Said\r\nConnection: close\r\n\r\n")?;
                loop {
                    wire.write_all(&[b'a'; 4_096])?;
                    self.written.fetch_add(4_096, Ordering::Relaxed);
                }
            }
        }
    }
}

fn read_request(wire: &mut impl Wire) -> std::io::Result<Request> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        wire.read_exact(&mut byte)?;
        read.push(byte[0]);
    }
    let head = String::from_utf8(read).map_err(|_| ErrorKind::InvalidData)?;
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    wire.read_exact(&mut body)?;
    Ok(Request {
        line,
        headers,
        body: String::from_utf8(body).map_err(|_| ErrorKind::InvalidData)?,
        at: Instant::now(),
    })
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is to end.
        if TcpStream::connect(self.shared.address).is_ok()
            && let Some(listens) = self.listens.take()
        {
            let _ = listens.join();
        }
    }
}
