use std::time::Duration;

use grid_proto::message::{FromClient, Query, ToClient};
use grid_proto::{Key, PROTOCOL_VERSION, RequestId};

use crate::{Backoff, Endpoint, Identity, Kind, MemoryHub, NetError, channel};

const PATIENCE: Duration = Duration::from_secs(10);

fn quic_pair() -> (Endpoint, Endpoint) {
    let identity = Identity::generate().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    (Endpoint::quic(any, &identity).unwrap(), Endpoint::quic(any, &identity).unwrap())
}

fn memory_pair() -> (Endpoint, Endpoint) {
    let hub = MemoryHub::new();
    (Endpoint::memory(&hub, "a").unwrap(), Endpoint::memory(&hub, "b").unwrap())
}

async fn echo_batches(server: Endpoint, client: Endpoint) {
    let address = server.address();
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.unwrap();
        let (kind, send, recv) = connection.accept().await.unwrap();
        assert_eq!(kind, Kind::Client);
        let (outbox, mut inbox) = channel::<FromClient, FromClient>(send, recv, 16);
        while let Some(batch) = inbox.recv().await.unwrap() {
            for message in batch {
                outbox.send(message).await.unwrap();
            }
        }
        drop(outbox);
        connection.closed().await
    });
    let connection = client.connect(&address, PATIENCE).await.unwrap();
    let (send, recv) = connection.open(Kind::Client).await.unwrap();
    let (outbox, mut inbox) = channel::<FromClient, FromClient>(send, recv, 1_000);
    let question = |n| FromClient::Query { request: RequestId(n), query: Query::Status };
    let mut seen = 0;
    // Larger together than one frame may be: the batch is cut.
    let large = |byte| FromClient::Release(vec![Key([byte; 32]); 200_000]);
    tokio::spawn(async move {
        for n in 0..1_000 {
            outbox.send(question(n)).await.unwrap();
        }
        for byte in 0..4 {
            outbox.send(large(byte)).await.unwrap();
        }
    });
    while seen < 1_004 {
        for message in inbox.recv().await.unwrap().unwrap() {
            let expected = if seen < 1_000 {
                question(seen)
            } else {
                large(u8::try_from(seen - 1_000).unwrap())
            };
            assert!(message == expected, "message {seen}");
            seen += 1;
        }
    }
    connection.close("done");
    assert_eq!(serve.await.unwrap(), "done");
}

#[tokio::test]
async fn batches_arrive_in_order_over_quic() {
    let (server, client) = quic_pair();
    echo_batches(server, client).await;
}

#[tokio::test]
async fn batches_arrive_in_order_in_memory() {
    let (server, client) = memory_pair();
    echo_batches(server, client).await;
}

/// A loop that also waits for other things drops `recv` again and again, half way through a frame.
#[tokio::test]
async fn a_dropped_recv_loses_nothing() {
    for (server, client) in [quic_pair(), memory_pair()] {
        let address = server.address();
        let large = |byte| FromClient::Release(vec![Key([byte; 32]); 10_000]);
        let send = tokio::spawn(async move {
            let connection = server.accept().await.unwrap();
            let (_, send, recv) = connection.accept().await.unwrap();
            let (outbox, _inbox) = channel::<FromClient, FromClient>(send, recv, 16);
            for byte in 0..20 {
                outbox.send(large(byte)).await.unwrap();
            }
            connection.closed().await
        });
        let connection = client.connect(&address, PATIENCE).await.unwrap();
        let (send_stream, recv) = connection.open(Kind::Client).await.unwrap();
        let (_outbox, mut inbox) = channel::<FromClient, FromClient>(send_stream, recv, 16);
        let mut seen = 0;
        let all = async {
            while seen < 20 {
                let batch = tokio::select! {
                    biased;
                    batch = inbox.recv() => batch.unwrap().unwrap(),
                    () = tokio::task::yield_now() => continue,
                };
                for message in batch {
                    assert!(message == large(seen), "message {seen}");
                    seen += 1;
                }
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap();
        connection.close("done");
        assert_eq!(send.await.unwrap(), "done");
    }
}

#[tokio::test]
async fn bulk_bytes_arrive_whole() {
    let (server, client) = quic_pair();
    let address = server.address();
    let body: Vec<u8> = (0..9_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let expected = body.clone();
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.unwrap();
        let (kind, mut send, _recv) = connection.accept().await.unwrap();
        assert_eq!(kind, Kind::Bulk);
        send.send_bytes(&body).await.unwrap();
        send.finish().await.unwrap();
        connection.closed().await
    });
    let connection = client.connect(&address, PATIENCE).await.unwrap();
    let (_send, mut recv) = connection.open(Kind::Bulk).await.unwrap();
    assert!(recv.recv_bytes(expected.len()).await.unwrap() == expected);
    connection.close("thanks");
    assert_eq!(serve.await.unwrap(), "thanks");
}

#[tokio::test]
async fn the_reason_why_a_connection_ended_is_the_first_one() {
    for (server, client) in [quic_pair(), memory_pair()] {
        let connection = client.connect(&server.address(), PATIENCE).await.unwrap();
        let other = server.accept().await.unwrap();
        connection.close("done");
        assert_eq!(other.closed().await, "done");
        other.close("an afterthought");
        assert_eq!(other.closed().await, "done");
    }
}

#[tokio::test]
async fn another_version_is_told_both() {
    for (server, client) in [quic_pair(), memory_pair()] {
        let client = client.with_version(PROTOCOL_VERSION + 1);
        let address = server.address();
        let serve = tokio::spawn(async move {
            let connection = server.accept().await.unwrap();
            let refused = connection.accept().await.err().unwrap();
            connection.closed().await;
            refused
        });
        let connection = client.connect(&address, PATIENCE).await.unwrap();
        let error = connection.open(Kind::Client).await.err().unwrap();
        assert!(
            matches!(error, NetError::Version { ours, theirs }
                if ours == PROTOCOL_VERSION + 1 && theirs == PROTOCOL_VERSION),
            "{error}"
        );
        connection.close("refused");
        assert!(matches!(serve.await.unwrap(), NetError::Version { .. }));
    }
}

#[tokio::test]
async fn another_grid_is_refused() {
    let (server, _) = quic_pair();
    let (stranger, _) = quic_pair();
    let address = server.address();
    let serve = tokio::spawn(async move { server.accept().await.is_some() });
    let error = match stranger.connect(&address, PATIENCE).await {
        Ok(connection) => connection.open(Kind::Client).await.err().unwrap(),
        Err(error) => error,
    };
    assert!(matches!(error, NetError::Refused { .. }), "{error}");
    assert!(!serve.is_finished());
    serve.abort();
}

#[tokio::test]
async fn a_taken_port_and_a_silent_address_are_named() {
    let (server, client) = quic_pair();
    let address = server.address();
    let identity = Identity::generate().unwrap();
    let error = Endpoint::quic(address.parse().unwrap(), &identity).err().unwrap();
    assert!(matches!(error, NetError::PortInUse { address: at } if at == address));

    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = client.connect(&address, Duration::from_millis(200)).await.err().unwrap();
    assert!(error.to_string().contains(&address), "{error}");
    let error = client.connect("nonsense", PATIENCE).await.err().unwrap();
    assert!(matches!(error, NetError::BadAddress { .. }), "{error}");
}

#[tokio::test]
async fn garbage_oversized_and_half_frames_end_the_stream_and_nothing_else() {
    let oversized = u32::MAX.to_le_bytes().to_vec();
    let garbage = [&64u32.to_le_bytes()[..], &[0xa5; 64]].concat();
    let half = [&64u32.to_le_bytes()[..], &[0; 10]].concat();
    let (server, client) = quic_pair();
    let address = server.address();
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.unwrap();
        let mut errors = Vec::new();
        for _ in 0..3 {
            let (_, send, recv) = connection.accept().await.unwrap();
            let (_outbox, mut inbox) = channel::<ToClient, FromClient>(send, recv, 1);
            errors.push(inbox.recv().await.err().unwrap());
        }
        errors
    });
    let connection = client.connect(&address, PATIENCE).await.unwrap();
    for bytes in [oversized, garbage, half] {
        let (mut send, _recv) = connection.open(Kind::Client).await.unwrap();
        send.send_bytes(&bytes).await.unwrap();
        send.finish().await.unwrap();
    }
    let errors = serve.await.unwrap();
    assert!(matches!(errors[0], NetError::Frame(_)), "{}", errors[0]);
    assert!(matches!(errors[1], NetError::Frame(_)), "{}", errors[1]);
    assert!(matches!(errors[2], NetError::Closed(_)), "{}", errors[2]);
}

#[test]
fn an_identity_is_made_once_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("identity");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let directory = directory.clone();
            std::thread::spawn(move || Identity::load_or_create(&directory).unwrap())
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let again = Identity::load_or_create(&directory).unwrap();
    assert!(again.tls().is_ok());
    for file in std::fs::read_dir(&directory).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn waits_grow_to_their_bound() {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200), 7);
    let waits: Vec<_> = (0..20).map(|_| backoff.next_wait()).collect();
    assert!(waits[0] < Duration::from_millis(11));
    assert!(waits[19] >= Duration::from_millis(100));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(200)));
}
