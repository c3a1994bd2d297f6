//! A small web server on loopback: files, git's own server program, and answers that fail.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What was asked.
pub struct Request {
    /// Counted from 0.
    pub number: usize,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut request = Self { number: 0, method, path, query, headers, body: Vec::new() };
        request.body = vec![0; request.header("content-length").parse().unwrap_or(0)];
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }
}

/// An answer: status line and headers without the last empty line, and the body.
pub type Response = (String, Vec<u8>);

/// An answer with a status and nothing else.
pub fn status(code: u16) -> Response {
    (format!("HTTP/1.1 {code} x\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"), Vec::new())
}

/// An answer that leads elsewhere.
pub fn redirect(to: &str) -> Response {
    (format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n"), Vec::new())
}

/// The files of a folder, as a server without git has them.
pub fn files(folder: PathBuf) -> impl Fn(&Request) -> Response + Send + Sync {
    move |request| match fs::read(folder.join(request.path.trim_start_matches('/'))) {
        Ok(body) => (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len()), body),
        Err(_) => status(404),
    }
}

/// The repositories of a folder, served by git.
pub fn git(folder: PathBuf) -> impl Fn(&Request) -> Response + Send + Sync {
    move |request| {
        let mut backend = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &folder)
            .envs([("GIT_HTTP_EXPORT_ALL", "1"), ("REMOTE_ADDR", "127.0.0.1")])
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", &request.path)
            .env("QUERY_STRING", &request.query)
            .env("CONTENT_TYPE", request.header("content-type"))
            .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
            .env("HTTP_GIT_PROTOCOL", request.header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        backend.stdin.take().unwrap().write_all(&request.body).unwrap();
        let output = backend.wait_with_output().unwrap().stdout;
        let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&output[..end + 2]).into_owned();
        let code = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        (format!("HTTP/1.1 {code}\r\n{head}"), output[end + 4..].to_vec())
    }
}

/// Repositories of a server that fails where a client wants less than the whole history.
pub fn no_shallow(folder: PathBuf, code: u16) -> impl Fn(&Request) -> Response + Send + Sync {
    let answer = git(folder);
    move |request| {
        let shallow = request.body.windows(6).any(|window| window == b"deepen");
        if shallow { status(code) } else { answer(request) }
    }
}

/// A server; gone with it.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub fn new(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ended) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (log, end, answer) = (asked.clone(), ended.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (log.clone(), answer.clone());
                thread::spawn(move || serve(&stream.unwrap(), &log, &*answer));
            }
        });
        Self { address, asked, ended }
    }

    /// Requests with these numbers get a status, and no answer.
    pub fn failing(
        wrong: impl Fn(usize) -> bool + Send + Sync + 'static,
        code: u16,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |request| if wrong(request.number) { status(code) } else { answer(request) })
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for: paths with their queries.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: &TcpStream, log: &Mutex<Vec<String>>, answer: &dyn Fn(&Request) -> Response) {
    let Some(mut request) = Request::read(stream) else { return };
    {
        let mut log = log.lock().unwrap();
        request.number = log.len();
        log.push(format!("{}?{}", request.path, request.query));
    }
    let (head, body) = answer(&request);
    // The client may have gone.
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(&body);
}
