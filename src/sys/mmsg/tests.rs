use super::*;
use std::net::{Ipv6Addr, SocketAddr};

fn batch(address: &str) -> (Batch, SocketAddr) {
    let socket = UdpSocket::bind(address).unwrap();
    let server = socket.local_addr().unwrap();
    let sockets = Batch::sockets(socket, NonZeroUsize::MIN).unwrap();
    (Batch::new(Arc::clone(&sockets[0])).unwrap(), server)
}

fn client(server: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind(SocketAddr::new(server.ip(), 0)).unwrap();
    client.connect(server).unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    client
}

#[test]
fn every_slot_answers_its_own_peer_as_long_as_it_likes() {
    let (mut batch, server) = batch("127.0.0.1:0");
    let clients: Vec<UdpSocket> = (0..SLOTS + 6).map(|_| client(server)).collect();
    for round in 0..3_u8 {
        for (index, client) in clients.iter().enumerate() {
            client.send(&vec![round; index]).unwrap();
        }
        let mut seen = 0;
        while seen < clients.len() {
            let received = batch.receive().unwrap();
            for index in 0..received {
                let slot = batch.slot(index).unwrap();
                // Each client says which one it is by the length.
                let client = slot.datagram.len();
                assert_eq!(slot.datagram, vec![round; client]);
                assert_eq!(slot.way.peer, clients[client].local_addr().unwrap());
                // Every other one is answered, with all the room there is.
                slot.room.fill(round ^ client.to_be_bytes()[7]);
                if client % 2 == 0 {
                    batch.answer(index, ANSWER + 1);
                }
            }
            batch.send().unwrap();
            seen += received;
        }
        for (index, client) in clients.iter().enumerate().filter(|(index, _)| index % 2 == 0) {
            let mut answer = vec![0; 2 * ANSWER];
            let len = client.recv(&mut answer).unwrap();
            assert_eq!(answer[..len], vec![round ^ index.to_be_bytes()[7]; ANSWER]);
        }
    }
    assert!(batch.slot(SLOTS).is_none());
}

#[test]
fn an_answer_that_cannot_be_sent_holds_up_no_other() {
    let (mut batch, server) = batch("127.0.0.1:0");
    let clients = [client(server), client(server), client(server)];
    // All three in one batch.
    loop {
        clients.iter().for_each(|client| assert_eq!(client.send(b"question").unwrap(), 8));
        if batch.receive().unwrap() >= 3 {
            break;
        }
    }
    for index in 0..3 {
        batch.slot(index).unwrap().room[..2].copy_from_slice(b"ok");
        batch.answer(index, 2);
    }
    // SAFETY: the room is the batch's own and no call is under way.
    unsafe {
        // An address of no known family.
        let peer = Batch::item(&raw mut (*batch.room.as_ptr()).peers, 1);
        (*peer).ss_family = 0xffff;
    }
    assert!(batch.send().is_err());
    for index in [0, 2] {
        let peer = batch.slot(index).unwrap().way.peer;
        let client = clients.iter().find(|client| client.local_addr().unwrap() == peer).unwrap();
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 2);
    }
}

#[test]
fn a_socket_at_all_addresses_tells_which_was_asked_and_answers_from_it() {
    let (mut batch, server) = batch("0.0.0.0:0");
    for last in [1, 2, 77] {
        let asked = SocketAddr::new([127, 0, 0, last].into(), server.port());
        let client = client(asked);
        for later in [false, true] {
            client.send(b"which").unwrap();
            assert_eq!(batch.receive().unwrap(), 1);
            let slot = batch.slot(0).unwrap();
            let way = slot.way;
            assert_eq!(way.asked.unwrap().address, asked.ip());
            slot.room[..2].copy_from_slice(b"ok");
            if later {
                Batch::send_later(&batch.socket, b"ok", way).unwrap();
            } else {
                batch.answer(0, 2);
                batch.send().unwrap();
            }
            // Only what comes from the address that it is connected to arrives.
            let mut answer = [0; 8];
            assert_eq!(client.recv(&mut answer).unwrap(), 2);
        }
    }
    let (mut batch, server) = super::tests::batch("[::]:0");
    let asked = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), server.port());
    let client = client(asked);
    client.send(b"which").unwrap();
    assert_eq!(batch.receive().unwrap(), 1);
    assert_eq!(batch.slot(0).unwrap().way.asked.unwrap().address, asked.ip());
    batch.answer(0, 2);
    batch.send().unwrap();
    assert_eq!(client.recv(&mut [0; 8]).unwrap(), 2);
}

#[test]
fn a_socket_at_one_address_is_told_nothing_and_its_waiting_can_be_ended() {
    let (mut batch, server) = batch("127.0.0.1:0");
    client(server).send(b"which").unwrap();
    assert_eq!(batch.receive().unwrap(), 1);
    assert_eq!(batch.slot(0).unwrap().way.asked, None);
    Batch::wake(&batch.socket);
    for _ in 0..2 {
        let received = batch.receive().unwrap();
        assert!((0..received).all(|index| batch.slot(index).is_none()));
    }
}

#[test]
fn workers_share_an_address_that_nobody_else_can_have() {
    let workers = NonZeroUsize::new(3).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    let sockets = Batch::sockets(socket, workers).unwrap();
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == server) && sockets.len() == 3);
    // A second server binds its first socket alone.
    assert_eq!(UdpSocket::bind(server).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    // The kernel deals datagrams out to all of them.
    let clients: Vec<UdpSocket> = (0..200).map(|_| client(server)).collect();
    clients.iter().for_each(|client| assert_eq!(client.send(b"question").unwrap(), 8));
    let mut batches: Vec<(Batch, usize)> = Vec::new();
    for socket in sockets {
        socket.set_nonblocking(true).unwrap();
        batches.push((Batch::new(socket).unwrap(), 0));
    }
    while batches.iter().map(|(_, here)| here).sum::<usize>() < clients.len() {
        batches.iter_mut().for_each(|(batch, here)| *here += batch.receive().unwrap_or(0));
    }
    assert!(batches.iter().all(|(_, here)| *here > 0));
}

/// Has a client send so many questions, takes all in one batch and answers each with its number, twice as long where the
/// number is divisible by three. Returns how many messages that makes.
fn answer_all(batch: &mut Batch, client: &UdpSocket, count: usize) -> usize {
    loop {
        (0..count).for_each(|number| assert_eq!(client.send(&[number.to_le_bytes()[0]]).unwrap(), 1));
        if batch.receive().unwrap() == count {
            break;
        }
        client.set_nonblocking(true).unwrap();
        while client.recv(&mut [0; 8]).is_ok() {}
        client.set_nonblocking(false).unwrap();
    }
    for index in 0..count {
        let slot = batch.slot(index).unwrap();
        let number = slot.datagram[0];
        slot.room[..20].fill(number);
        batch.answer(index, if number % 3 == 0 { 20 } else { 10 });
    }
    let messages = batch.groups.len();
    batch.send().unwrap();
    let mut seen = vec![false; count];
    for _ in 0..count {
        let mut answer = [0; 64];
        let len = client.recv(&mut answer).unwrap();
        let number = answer[0];
        assert_eq!(answer[..len], vec![number; if number % 3 == 0 { 20 } else { 10 }]);
        assert!(!std::mem::replace(&mut seen[usize::from(number)], true), "answer {number} came twice");
    }
    messages
}

#[test]
fn answers_of_one_length_to_one_peer_leave_together() {
    for (address, asked) in
        [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "::1")]
    {
        let (mut batch, server) = batch(address);
        assert!(batch.segments, "Linux cuts messages apart since 4.18");
        let client = client(SocketAddr::new(asked.parse().unwrap(), server.port()));
        assert_eq!(answer_all(&mut batch, &client, 60), 2);
    }
}

#[test]
fn where_the_kernel_refuses_to_cut_every_answer_leaves_on_its_own() {
    let (mut batch, server) = batch("127.0.0.1:0");
    let on: c_int = 1;
    // Without checksums there is no cutting.
    // SAFETY: the descriptor is open, and the option takes a c_int.
    let done = unsafe {
        let (value, len) = ((&raw const on).cast(), 4);
        libc::setsockopt(batch.socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, value, len)
    };
    assert_eq!(done, 0);
    let client = client(server);
    assert_eq!(answer_all(&mut batch, &client, 30), 2);
    assert!(!batch.segments, "and it is not tried again");
    assert_eq!(answer_all(&mut batch, &client, 30), 30);
}

#[test]
fn answers_that_are_long_leave_on_their_own() {
    let (mut batch, server) = batch("127.0.0.1:0");
    let client = client(server);
    loop {
        (0..2).for_each(|_| assert_eq!(client.send(b"question").unwrap(), 8));
        if batch.receive().unwrap() == 2 {
            break;
        }
    }
    for index in 0..2 {
        batch.slot(index).unwrap().room[..TOGETHER + 1].fill(7);
        batch.answer(index, TOGETHER + 1);
    }
    assert_eq!(batch.groups.len(), 2);
    batch.send().unwrap();
}
