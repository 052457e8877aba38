//! Conversations with the real binary.

mod common;

use common::Server;
use common::exchange::{Tcp, Udp};

#[test]
fn a_server_starts_answers_and_comes_back_after_kill9() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--zone", "home.example", "--tsig", "k:c2VjcmV0"]);
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x04home\x07example\0\0\x06\0\x01";
    for address in [server.v4(), server.v6()] {
        assert_eq!(Udp::connect(address).ask(query), Tcp::connect(address).ask(query));
    }
    server.kill9();
    server.restart();
    assert_eq!(&Udp::connect(server.v4()).ask(query)[..2], b"\x12\x34");
    server.wait_for_log("zone loaded");
    assert!(server.terminate().success());
}
