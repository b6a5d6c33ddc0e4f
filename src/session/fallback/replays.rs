//! What the store is told when it is back: all that was kept, and each thing once.

use super::{
    faulty::{Faulty, START},
    tests::{at, config, count_in, counted, create, of, one_more, save},
    *,
};
use crate::{
    clock::{ManualClock, days, seconds},
    session::{MemorySessionStore, replay::Data, testing},
    store::OutageSwitch,
};

fn rotation(record: &Record, now: Timestamp) -> Record {
    let mut next = record.next(record.data().clone(), now);
    next.rotate(testing::secret(&testing::record(&config(), now)), now);
    next
}

/// It was live and in no list, and `revoke_all` left it alive.
#[tokio::test]
async fn a_login_that_is_renewed_or_rotated_before_it_is_merged_joins_its_users_list() {
    for follow in [testing::renewal, rotation] {
        let outage = OutageSwitch::default();
        let memory = MemorySessionStore::new(ManualClock::at(START).clock());
        let store = FallbackSessionStore::new(memory.clone().outage(outage.clone()), &config());
        let (user, anonymous) = (UserId::new(1), testing::record(&config(), START));
        create(&store, &anonymous).await;
        outage.set(true);
        let login = testing::login(&anonymous, &user, &config(), START + seconds(1));
        save(&store, &login, &anonymous).await;
        save(&store, &follow(&login, START + seconds(2)), &login).await;
        outage.set(false);
        assert_eq!(store.list(&at(seconds(3)), &user).await.expect("up").len(), 1);
        let ended = store.revoke_all(&at(seconds(4)), &user, None, days(1)).await.expect("up");
        assert_eq!(ended, [login.id()]);
        assert!(memory.load(&at(seconds(4)), login.id()).await.expect("up").is_none());
    }
}

/// As after it came back from a snapshot of before the login.
#[tokio::test]
async fn a_login_that_is_saved_again_over_an_older_state_joins_its_users_list() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let (user, anonymous) = (UserId::new(1), testing::record(&config(), START));
    create(&store, &anonymous).await;
    let login = testing::login(&anonymous, &user, &config(), START + seconds(1));
    save(&store, &login, &anonymous).await;
    save(&store, &testing::renewal(&login, START + seconds(2)), &login).await;
    faulty.lose(&anonymous).await;
    create(&faulty, &anonymous).await;
    store.replay(&faulty, &at(seconds(3)), Data::Unsure).await.expect("up");
    assert_eq!(faulty.list(&at(seconds(4)), &user).await.expect("up").len(), 1);
}

#[tokio::test]
async fn a_revocation_ends_what_is_known_here_and_in_no_list() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let (user, anonymous) = (UserId::new(1), testing::record(&config(), START));
    create(&faulty, &anonymous).await;
    let login = testing::login(&anonymous, &user, &config(), START + seconds(1));
    save(&faulty, &testing::renewal(&login, START + seconds(2)), &anonymous).await;
    assert!(store.load(&at(seconds(3)), login.id()).await.expect("up").is_some());
    let _known = store.revoke_all(&at(seconds(4)), &user, None, days(1)).await.expect("up");
    assert!(faulty.store.load(&at(seconds(4)), login.id()).await.expect("up").is_none());
}

/// An older one of the same user was on its way, and its answer was taken for that of the newer one.
#[tokio::test]
async fn a_revocation_that_comes_while_an_older_one_is_told_is_told_too() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let (user, kept) = (UserId::new(1), of(1));
    create(&faulty, &kept).await;
    let _none = store.revoke_all(&at(seconds(1)), &user, Some(kept.id()), days(1)).await.expect("up");
    let (refuses, handler) = (faulty.refuses.clone(), store.clone());
    faulty.meanwhile(move || {
        refuses.set(true);
        let kept = handler.revoke_all(&at(seconds(3)), &UserId::new(1), None, days(1));
        refuses.set(false);
        StoreFuture::submit(async move { kept.await.map(drop) })
    });
    store.replay(&faulty, &at(seconds(4)), Data::Unsure).await.expect("up");
    assert!(!store.is_settled(), "the newer one is yet to be told");
    store.replay(&faulty, &at(seconds(5)), Data::Kept).await.expect("up");
    assert!(faulty.store.load(&at(seconds(5)), kept.id()).await.expect("up").is_none());
    assert!(store.is_settled());
}

/// One value of another program kept from the store what other users had done.
#[tokio::test]
async fn what_the_store_cannot_take_keeps_nothing_else_from_it() {
    for data in [Data::Kept, Data::Unsure, Data::Lost] {
        let faulty = Faulty::new();
        let store = FallbackSessionStore::new(faulty.clone(), &config());
        let (changed, ended, read) = ([of(1), of(2)], [of(1), of(2)], [of(3), of(4)]);
        for record in changed.iter().chain(&ended).chain(&read) {
            create(&store, record).await;
        }
        let unseen = of(2);
        create(&faulty, &unseen).await;
        faulty.outage.set(true);
        for ((changed, ended), read) in changed.iter().zip(&ended).zip(&read) {
            save(&store, &counted(changed, &one_more()), changed).await;
            assert!(store.delete(&at(seconds(1)), ended.id(), ended.user()).await.expect("kept"));
            assert!(store.touch(&at(seconds(1)), read.id(), read.stamp().generation).await.expect("kept"));
            let user = changed.user().expect("logged in");
            let _known = store.revoke_all(&at(seconds(2)), user, Some(changed.id()), days(1)).await.expect("kept");
        }
        faulty.outage.set(false);
        [&changed[0], &ended[0], &read[0]].into_iter().for_each(|record| faulty.spoil(record));
        store.replay(&faulty, &at(seconds(3)), data).await.expect("up");
        assert!(store.is_settled(), "nothing is tried for ever");
        assert_eq!(count_in(&faulty.store, changed[1].id()).await, Some(1), "{data:?}");
        for ended in [&ended[1], &unseen] {
            assert!(faulty.store.load(&at(seconds(3)), ended.id()).await.expect("up").is_none(), "{data:?}");
        }
    }
}

/// Each of those that were told at once was charged to the request by itself, and its own session was unavailable.
#[tokio::test]
async fn what_a_request_tells_for_others_leaves_time_for_its_own_session() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let unknown = of(1);
    create(&faulty, &unknown).await;
    let ended: Vec<_> = (0..100).map(|_| of(2)).collect();
    for record in &ended {
        create(&store, record).await;
    }
    faulty.outage.set(true);
    for record in &ended {
        assert!(store.delete(&at(seconds(1)), record.id(), record.user()).await.expect("kept"));
    }
    faulty.outage.set(false);
    let cx = at(seconds(2)).with_budget(std::time::Duration::from_millis(50));
    assert!(store.load(&cx, unknown.id()).await.expect("not spent on others").is_some());
    while !store.is_settled() {
        let cx = at(seconds(2)).with_budget(std::time::Duration::from_millis(50));
        store.load(&cx, unknown.id()).await.expect("not spent on others");
    }
    assert!(faulty.store.load(&at(seconds(2)), ended[99].id()).await.expect("up").is_none(), "told in the end");
}
