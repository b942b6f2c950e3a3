//! The client for S3, against as much of its protocol as checkpoints need.

use super::model::{State, add, restore, rows, table};
use crate::checkpoint::{Codec, Settings, Store};
use millstream_dataflow::Kind;
use millstream_dataflow::testing::Random;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A server that keeps the objects of a bucket; who presents no key is refused.
fn serve() -> (SocketAddr, Objects) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let objects = Objects::default();
    let kept = Arc::clone(&objects);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            // A client that went away is not this test's concern.
            std::thread::spawn(move || answer(stream.ok()?, &kept).ok());
        }
    });
    (address, objects)
}

struct Request {
    verb: String,
    key: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (verb, target) = (words.next().unwrap(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Ok(Request {
        verb,
        key: path
            .trim_start_matches("/bucket")
            .trim_start_matches('/')
            .to_owned(),
        query: query.to_owned(),
        headers,
        body,
    })
}

fn answer(mut stream: TcpStream, objects: &Objects) -> std::io::Result<()> {
    let request = request(&stream)?;
    let mut objects = objects.lock().unwrap();
    let (status, body) = if !request.headers["authorization"].contains("Credential=key/") {
        ("403 Forbidden", b"<Error/>".to_vec())
    } else {
        respond(&request, &mut objects)
    };
    let length = body.len();
    let range = request
        .headers
        .get("range")
        .map_or_else(String::new, |range| {
            let span = range.trim_start_matches("bytes=");
            format!(
                "Content-Range: bytes {span}/{}\r\n",
                objects[&request.key].len()
            )
        });
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"x\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n{range}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    if request.verb != "HEAD" {
        stream.write_all(&body)?;
    }
    Ok(())
}

fn respond(request: &Request, objects: &mut BTreeMap<String, Vec<u8>>) -> (&'static str, Vec<u8>) {
    match request.verb.as_str() {
        "PUT"
            if request.headers.contains_key("if-none-match")
                && objects.contains_key(&request.key) =>
        {
            ("412 Precondition Failed", b"<Error/>".to_vec())
        }
        "PUT" => {
            objects.insert(request.key.clone(), request.body.clone());
            ("200 OK", vec![])
        }
        "GET" if request.query.contains("list-type=2") => ("200 OK", list(request, objects)),
        "GET" => match objects.get(&request.key) {
            None => ("404 Not Found", b"<Error/>".to_vec()),
            Some(bytes) => match request.headers.get("range") {
                None => ("200 OK", bytes.clone()),
                Some(range) => part(bytes, range),
            },
        },
        "HEAD" => ("200 OK", objects[&request.key].clone()),
        "POST" => {
            let text = String::from_utf8(request.body.clone()).unwrap();
            let mut deleted = String::new();
            for key in text.split("<Key>").skip(1) {
                let key = key.split('<').next().unwrap();
                objects.remove(key);
                deleted += &format!("<Deleted><Key>{key}</Key></Deleted>");
            }
            (
                "200 OK",
                format!("<DeleteResult>{deleted}</DeleteResult>").into_bytes(),
            )
        }
        verb => panic!("{verb}"),
    }
}

fn list(request: &Request, objects: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let prefix = request.query.split("prefix=").nth(1).unwrap();
    let prefix = prefix.split('&').next().unwrap().replace("%2F", "/");
    let listed = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
    let contents = listed.map(|(key, bytes)| {
        let size = bytes.len();
        format!(
            "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>{size}</Size></Contents>"
        )
    });
    let contents: String = contents.collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>")
        .into_bytes()
}

fn part(bytes: &[u8], range: &str) -> (&'static str, Vec<u8>) {
    let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    ("206 Partial Content", bytes[start..=end].to_vec())
}

fn settings(address: SocketAddr, key: &str) -> Settings {
    let options = [
        ("endpoint", format!("http://{address}")),
        ("region", "here".to_owned()),
        ("access-key", key.to_owned()),
        ("secret-key", "secret".to_owned()),
    ];
    Settings {
        codec: Codec::Lz4,
        wait: Duration::ZERO,
        keep: 1,
        options: options.map(|(name, value)| (name.to_owned(), value)).into(),
        ..Settings::default()
    }
}

#[test]
fn checkpoints_are_kept_in_a_bucket() {
    let (address, objects) = serve();
    let url = "s3://bucket/jobs/one";
    let error = Store::open(url, settings(address, "other")).err().unwrap();
    assert_eq!(error.kind, Kind::User);
    assert!(error.hint.unwrap().contains("credentials"));
    let mut first = Store::open(url, settings(address, "key")).unwrap();
    first.newest().unwrap();
    let (mut state, mut random) = (State::new(), Random(1));
    for checkpoint in 0..6 {
        add(
            &mut first,
            &mut state,
            &table(1),
            &rows(&mut random, 50, 90),
        );
        first.commit(json!(checkpoint), &[table(1)]).unwrap();
        first.tidy().unwrap();
    }
    let mut second = Store::open(url, settings(address, "key")).unwrap();
    assert_eq!(restore(&mut second).unwrap().unwrap().1, state);
    assert_eq!(first.commit(json!(7), &[]).unwrap_err().kind, Kind::Fenced);
    second.commit(json!(7), &[table(1)]).unwrap();
    second.tidy().unwrap();
    let names: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    let manifests = names
        .iter()
        .filter(|name| name.starts_with("jobs/one/manifest/"));
    assert_eq!(manifests.count(), 1, "{names:?}");
    assert!(
        names.contains(&"jobs/one/writer/0000000002".to_owned()),
        "{names:?}"
    );
}
