//! What is under way between receivers and a storage that is slow.

use std::cell::Cell;
use std::future::pending;

use super::*;

/// Storage takes closures and does not begin them: messages that no receiver waits for any more still have their credits.
#[test]
fn what_is_under_way_to_a_slow_storage_is_bounded_by_credits() {
    let house = house_of(1_000);
    house.world.block_on(async {
        house.way.set(Lane::Stands);
        let text = |number: u32| format!("{number} {}", "x".repeat(4_000));
        let bytes = body(&text(10)).raw.len();
        assert_eq!(house.deliver(&text(10)).await, Ok(()), "spooled");
        // While it waits, mail goes to the spool alone, and is under way no longer than that.
        for number in 11..60 {
            assert_eq!(house.deliver(&text(number)).await, Ok(()));
        }
        let credits = &house.credits;
        assert_eq!(credits.used_bytes(), bytes, "the one in the lane");
        // As if that one were as large as all credits.
        let all = credits.take(credits.bytes_max() - bytes).expect("free");
        let arrival = Arrival {
            junk: Vec::new(),
            posted: Default::default(),
            body: body("late"),
            internal_date: InternalDate::utc(1_000),
            accounts: vec![house.alice],
        };
        let on_behalf = |_: &[AccountId]| envelope(&["alice@example.org"]);
        let span = Span::none();
        let refused = house.keeper.deliver(arrival, &on_behalf, &span).await;
        assert!(refused.is_err(), "451");
        let throttled = &house.keeper.counters().throttled;
        assert_eq!(throttled.load(std::sync::atomic::Ordering::Relaxed), 1);
        drop(all);
        house.way.let_go();
        house.host.sleep(Duration::from_secs(1)).await;
        assert_eq!(credits.used_bytes(), 0);
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await.len(), 50);
    });
}

/// Many senders at once, and a storage that stands: never more than the credits, and what was refused was refused at once.
#[test]
fn senders_at_once_are_refused_past_the_credits() {
    let house = Rc::new(house_of(1_000));
    house.world.block_on(async {
        house.way.set(Lane::Stands);
        let answers = Rc::new(RefCell::new(Vec::new()));
        for number in 0..40 {
            let (house, answers) = (house.clone(), answers.clone());
            let host = house.host.clone();
            host.spawn(Box::pin(async move {
                let text = format!("{number} {}", "x".repeat(8_000));
                let arrival = Arrival {
                    junk: Vec::new(),
                    posted: Default::default(),
                    body: body(&text),
                    internal_date: InternalDate::utc(1_000),
                    accounts: vec![house.alice],
                };
                let on_behalf = |_: &[AccountId]| envelope(&["alice@example.org"]);
                let span = Span::none();
                let answer = house.keeper.deliver(arrival, &on_behalf, &span).await;
                assert!(house.credits.used_bytes() <= CREDITS);
                answers.borrow_mut().push(answer.is_ok());
            }));
        }
        house.host.sleep(2 * DIRECT_MAX).await;
        let taken = answers.borrow().iter().filter(|taken| **taken).count();
        assert_eq!(answers.borrow().len(), 40);
        assert!((3..=7).contains(&taken), "{taken}");
        house.way.let_go();
        house.host.sleep(Duration::from_secs(1)).await;
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await.len(), taken);
        assert_eq!(house.credits.used_bytes(), 0);
    });
}

fn arrival(house: &House, text: &str) -> Arrival {
    Arrival {
        junk: Vec::new(),
        posted: Default::default(),
        body: body(text),
        internal_date: InternalDate::utc(1_000),
        accounts: vec![house.alice],
    }
}

/// What is under way to a storage that stands still does not take the spool its credits: mail is spooled for as long as storage stands.
#[test]
fn a_storage_that_stands_leaves_the_spool_its_credits() {
    let house = Rc::new(house_of(1_000));
    house.world.block_on(async {
        house.way.set(Lane::Stands);
        for number in 0..40 {
            let (house, host) = (house.clone(), house.host.clone());
            host.spawn(Box::pin(async move {
                let text = format!("{number} {}", "x".repeat(7_000));
                let on_behalf = |_: &[AccountId]| envelope(&["alice@example.org"]);
                let (arrival, span) = (arrival(&house, &text), Span::none());
                let _ = house.keeper.deliver(arrival, &on_behalf, &span).await;
            }));
        }
        house.host.sleep(2 * DIRECT_MAX).await;
        assert!(house.credits.used_bytes() > 7_000, "some wait in the lane");
        for number in 40..80 {
            let text = format!("{number} {}", "x".repeat(7_000));
            assert_eq!(house.deliver(&text).await, Ok(()), "spooled");
        }
        house.way.let_go();
        house.host.sleep(Duration::from_secs(1)).await;
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.credits.used_bytes(), 0);
    });
}

/// A spool whose legs are silent: what it was given never ends.
#[derive(Clone, Default)]
struct Hanging {
    given: Rc<RefCell<Vec<super::super::Held>>>,
    is_away: Rc<Cell<bool>>,
}

impl Spooling for Hanging {
    async fn take(
        &self,
        _body: BodyIn,
        _envelope: Envelope,
        held: super::super::Held,
    ) -> Result<QueueId, SpoolFault> {
        self.given.borrow_mut().push(held);
        pending().await
    }

    fn waits(&self) -> bool {
        !self.given.borrow().is_empty() && !self.is_away.get()
    }

    fn is_full(&self) -> bool {
        self.is_away.get()
    }
}

/// What hangs in the spool has its credits for ever, and storage is well again: mail goes straight to it.
#[test]
fn a_spool_that_hangs_leaves_storage_its_credits() {
    let house = house();
    let spool = Hanging::default();
    let ways = (house.host.clone(), house.way.clone());
    let keeper = Spooled::new(ways.0, ways.1, spool.clone(), house.credits.clone());
    house.world.block_on(async {
        house.way.set(Lane::Full);
        let (on_behalf, span) = (
            |_: &[AccountId]| envelope(&["alice@example.org"]),
            Span::none(),
        );
        let large = |number: u32| format!("{number} {}", "x".repeat(7_000));
        for number in 10..30 {
            let refused = keeper.deliver(arrival(&house, &large(number)), &on_behalf, &span);
            let refused = refused.await;
            assert!(!matches!(refused.as_deref(), Ok([Ok(())])), "{refused:?}");
        }
        // The probes see it.
        spool.is_away.set(true);
        house.way.set(Lane::Goes);
        for number in 30..40 {
            let placed = keeper.deliver(arrival(&house, &large(number)), &on_behalf, &span);
            assert_eq!(placed.await.as_deref(), Ok(&[Ok(())][..]));
        }
        assert_eq!(house.inbox().await.len(), 10);
    });
}
