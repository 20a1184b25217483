//! As much of HTTP/1.1 as a client of a model needs.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// Bytes of the head of a request, and of its body.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// As above.
const BODY_BYTES_MAX: u64 = 64 << 20;

type Head = (String, BTreeMap<String, String>, Value);

/// The next request of a connection: path, headers, body; none at its end.
pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut head = reader.by_ref().take(HEAD_BYTES_MAX);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        head.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: u64 = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    if length > BODY_BYTES_MAX {
        return Err(io::Error::other("the request is too long"));
    }
    let mut body = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Some((path, headers, body)))
}

/// An answer in one piece.
pub(super) fn write_whole(
    mut connection: &TcpStream,
    code: u16,
    content_type: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {code} Scripted\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut message = head.into_bytes();
    message.extend_from_slice(body);
    connection.write_all(&message)
}

/// The head of an answer that comes in chunks.
pub(super) fn begin_chunks(mut connection: &TcpStream, content_type: &str) -> io::Result<()> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.write_all(head.as_bytes())
}

/// One chunk; nothing for an empty one, which would end the answer.
pub(super) fn write_chunk(mut connection: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    connection.write_all(&chunk)
}

/// The end of an answer that came in chunks.
pub(super) fn end_chunks(mut connection: &TcpStream) -> io::Result<()> {
    connection.write_all(b"0\r\n\r\n")
}
