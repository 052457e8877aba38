//! A web server that answers as a test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// Answers each request with what `answer` says of its first line and body: status, header lines and text. It notes of
/// each request the first line with the body behind it, then the head.
pub(crate) fn serve(
    answer: impl Fn(&str, &str) -> (u16, &'static str, String) + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&seen);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut request, mut octet) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut octet).is_ok_and(|len| len > 0) {
                request.push(octet[0]);
            }
            let head = String::from_utf8_lossy(&request).into_owned();
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).unwrap();
            let body = String::from_utf8_lossy(&body);
            let line = head.lines().next().unwrap_or_default();
            let (status, headers, text) = answer(line, &body);
            asked.lock().unwrap().push(format!("{line} {body}\n{head}"));
            let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close", text.len());
            let _ = stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes());
        }
    });
    (address, seen)
}
