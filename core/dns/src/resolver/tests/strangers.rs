//! Look-ups on behalf of strangers, some of whom have slow zones on purpose.

use super::*;

/// Names of `slow.example` are never answered, all others at once.
fn partly_silent() -> Server {
    server(|question, _| {
        let name = question.queries[0].name().to_ascii();
        match name.contains("slow.example") {
            true => Vec::new(),
            false => wire(records(question, 1)),
        }
    })
}

#[test]
fn slow_zones_of_one_stranger_leave_the_others_their_look_ups() {
    run(async {
        let server = partly_silent();
        let patience = Patience {
            waits: [Duration::from_secs(60); 3],
            deadline: Duration::from_secs(30),
        };
        let servers = Servers::fixed(vec![server.address]);
        let names = Resolver::with_patience(servers, 1, patience);
        let local = tokio::task::LocalSet::new();
        let mut slow = Vec::new();
        for at in 0..2 * LOOKUPS_MAX {
            // Neighbours are one stranger.
            let peer = IpAddr::from([192, 0, 2, at as u8]);
            let names = names.on_behalf_of(peer);
            slow.push(local.spawn_local(async move {
                let name = format!("n{at}.slow.example");
                names.records(&name, Kind::Txt).await.map(drop)
            }));
        }
        local
            .run_until(async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                let left = names.shared.lookups.available_permits();
                assert_eq!(left, LOOKUPS_MAX - LOOKUPS_PER_NETWORK_MAX);
                for peer in ["198.51.100.1", "2001:db8::1"] {
                    let other = names.on_behalf_of(peer.parse().expect("an address"));
                    let host = format!("{}.example", peer.len());
                    assert!(first_host(&other, &host).await.is_ok(), "{peer}");
                }
                assert!(first_host(&names, "own.example").await.is_ok());
                assert_eq!(names.shared.shares.networks(), 1, "the others took no room");
                for task in &slow {
                    task.abort();
                }
                for task in slow {
                    assert!(task.await.is_err(), "it was dropped");
                }
                let left = names.shared.lookups.available_permits();
                assert_eq!((left, names.shared.shares.networks()), (LOOKUPS_MAX, 0));
            })
            .await;
    });
}

/// A stranger that has used up its share asks for a name that others ask for as well: that it was not looked up does not answer them.
#[test]
fn a_name_that_had_no_turn_is_not_kept_as_one_that_has_no_answer() {
    run(async {
        let server = partly_silent();
        let patience = Patience {
            waits: [Duration::from_secs(60); 3],
            deadline: Duration::from_millis(200),
        };
        let servers = Servers::fixed(vec![server.address]);
        let names = Resolver::with_patience(servers, 1, patience);
        let stranger = names.on_behalf_of(IpAddr::from([192, 0, 2, 1]));
        let network = stranger.network.expect("a stranger's");
        let share = names.shared.shares.of(network);
        let all = share.places().acquire_many(LOOKUPS_PER_NETWORK_MAX as u32);
        let all = all.await.expect("it is never closed");
        unavailable(first_host(&stranger, "host.example").await);
        assert!(first_host(&names, "host.example").await.is_ok());
        drop(all);
        assert!(first_host(&stranger, "host.example").await.is_ok());
    });
}
