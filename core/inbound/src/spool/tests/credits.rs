//! What is under way between receivers and a storage that is slow.

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
