//! Clients that connect and send little or too much do not block others.

use crate::hub::{Hub, stderr};
use crate::service_process::ServiceProcess;
use hubvault_testkit::server;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);

fn service() -> (Hub, ServiceProcess) {
    let database = server().database();
    let hub = Hub::whole(&database);
    let service = ServiceProcess::start_http(&hub);
    (hub, service)
}

fn connect(service: &ServiceProcess) -> TcpStream {
    let address = service.base().strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What is left to read until the other side hangs up; a place that stays taken is an error.
fn read_to_end(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("still connected: {error}"),
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn silent_connections_are_closed_and_others_are_answered() {
    let (_hub, service) = service();
    let crowd: Vec<TcpStream> = (0..300).map(|_| connect(&service)).collect();
    // Nothing is proven yet, which it can say.
    assert_eq!(service.get("/health", "").status, 503);
    for stream in crowd {
        read_to_end(stream);
    }
    let log = service.stop_and_log();
    assert!(log.contains("http: all 256 connections"), "{log}");
}

#[test]
fn a_request_head_that_arrives_byte_by_byte_times_out() {
    let (_hub, service) = service();
    let mut stream = connect(&service);
    stream
        .write_all(b"GET /health HTTP/1.1\r\nX-Long: ")
        .unwrap();
    let reading = stream.try_clone().unwrap();
    let ended = std::thread::spawn(move || read_to_end(reading));
    let begun = Instant::now();
    while !ended.is_finished() {
        assert!(begun.elapsed() < PATIENCE, "it is still waited for");
        // Where it is over, the reader sees it, too.
        let _ = stream.write_all(b"x");
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = ended.join().unwrap();
    assert!(!said.contains("200 OK"), "{said}");
    assert_eq!(service.get("/health", "").status, 503);
}

#[test]
fn an_endless_request_head_is_refused() {
    let (_hub, service) = service();
    let mut stream = connect(&service);
    let head = format!(
        "GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    // The other side may hang up in the middle of it.
    let _ = stream.write_all(head.as_bytes());
    let said = read_to_end(stream);
    assert!(said.is_empty() || said.contains(" 431 "), "{said}");
    assert_eq!(service.get("/health", "").status, 503);
}

#[test]
fn an_invalid_address_is_a_configuration_error() {
    let database = server().database();
    let mut hub = Hub::whole(&database);
    for bad in ["nonsense", "127.0.0.1:port", "10.0.0.256:80"] {
        hub.set("HTTP_ADDR", bad);
        for command in [["config", "check"].as_slice(), &["serve"]] {
            let output = hub.run(command);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(
                said.contains("variable HTTP_ADDR: http.address: expected a port (8080)"),
                "{said}"
            );
        }
    }
}
