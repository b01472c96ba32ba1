//! What an inbound node does beside its mail: it fetches the table of recipients, and probes storage nodes that failed.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use runtime::{Connection, Dial, Dialled, Stop};
use storage::recipients::{Recipients, TABLE_BYTES_MAX};

use super::limits::*;
use super::table::Table;
use super::talk::{Broke, Caller};
use super::target::{Target, Targets};

/// Puts a new table where the next start finds it.
pub type Keep = Rc<dyn Fn(Bytes)>;

/// Asks for the table every `every` until `stop`, over one connection that stays; the storage nodes by their priority.
pub async fn fetch<D: Dial>(
    caller: Caller<D>,
    targets: Targets,
    table: Table,
    every: Duration,
    keep: Keep,
    stop: Stop,
) {
    let mut order: Vec<(usize, &Target)> = targets.all().iter().enumerate().collect();
    order.retain(|(_, target)| target.recipients.is_some());
    order.sort_by_key(|(_, target)| target.priority);
    // One connection is kept, because a handshake each minute from each node would be most of the work on both sides.
    let mut open: Option<(usize, D::Connection)> = None;
    loop {
        // until the stop
        let turn = async {
            if let Some((index, mut connection)) = open.take()
                && let Ok(fetched) = ask(&caller, &mut connection, &table).await
            {
                settle(&caller, &table, index, fetched, &keep);
                open = Some((index, connection));
            } else {
                // The first that answers is asked from then on, until its connection breaks.
                for (index, target) in &order {
                    let address = target.recipients.expect("only those are asked");
                    let asked = async {
                        let mut connection = caller.connect(address, &target.name).await?;
                        let fetched = ask(&caller, &mut connection, &table).await?;
                        Ok::<_, Broke>((connection, fetched))
                    };
                    match asked.await {
                        Ok((connection, fetched)) => {
                            settle(&caller, &table, *index, fetched, &keep);
                            open = Some((*index, connection));
                            break;
                        }
                        Err(Broke::Before(why)) => {
                            let name = target.name.to_str();
                            table.trouble(&format!("{address} ({name}): {why}"));
                        }
                        Err(broke) => tracing::debug!(?broke, "no table of recipients now"),
                    }
                }
            }
            caller.host.sleep(every).await;
        };
        tokio::select! {
            biased;
            () = stop.requested() => return,
            () = turn => {}
        }
    }
}

/// What a storage node answered.
enum Fetched {
    Same,
    New(Recipients),
}

fn settle<D: Dial>(caller: &Caller<D>, table: &Table, from: usize, fetched: Fetched, keep: &Keep) {
    let now = caller.host.now();
    match fetched {
        Fetched::Same => table.confirm(now),
        Fetched::New(new) => {
            let (version, addresses) = (new.version(), new.addresses());
            tracing::info!(version, addresses, "a new table of recipients");
            // Kept before it is used, and not waited for: a start with the last table but one is safe, it only defers more.
            keep(new.bytes().clone());
            table.replace(new, from, now);
        }
    }
}

/// One question and its answer. The table is checked before it is taken.
async fn ask<D: Dial>(
    caller: &Caller<D>,
    connection: &mut D::Connection,
    table: &Table,
) -> Result<Fetched, Broke> {
    let ours = table.version();
    let have = ours.as_deref().unwrap_or("-");
    let before = |why: String| Broke::Before(why);
    connection.deadline(PIECE_MAX);
    let turn = async {
        let sent = connection.send(format!("HAVE {have}\r\n").as_bytes()).await;
        sent.map_err(|fault| before(fault.to_string()))?;
        let mut input = Vec::new();
        let end = loop {
            // until a line is whole, or too long
            match memchr::memmem::find(&input, b"\r\n") {
                Some(end) => break end,
                None if input.len() > TABLE_LINE_BYTES_MAX => {
                    return Err(before("its answer is too long".to_owned()));
                }
                None => more(connection, &mut input).await?,
            }
        };
        let line = String::from_utf8_lossy(&input[..end]).into_owned();
        // `SAME` means nothing to a node that has no table: taken as an answer it would leave one that never gets any.
        let words: Vec<&str> = line.splitn(2, ' ').collect();
        match words[..] {
            ["SAME"] if ours.is_some() => Ok(None),
            ["TABLE", bytes] => {
                let bytes: usize = bytes.parse().map_err(|_| before("no length".to_owned()))?;
                if bytes > TABLE_BYTES_MAX {
                    return Err(before(format!("its table has {bytes} bytes: too many")));
                }
                input.drain(..end + 2);
                Ok(Some((bytes, input)))
            }
            ["LATER", why] => Err(before(why.escape_default().to_string())),
            _ => Err(before("its answer makes no sense".to_owned())),
        }
    };
    let answered = caller.host.within(PIECE_MAX, turn).await;
    let answered = answered.unwrap_or_else(|| Err(before("no answer in time".to_owned())))?;
    let Some((bytes, mut input)) = answered else {
        return Ok(Fetched::Same);
    };
    // Once, to the announced size, which is bounded above: a vector that doubles would take twice the table for a moment.
    input.reserve_exact(bytes.saturating_sub(input.len()));
    let rest = async {
        while input.len() < bytes {
            // Ends: each turn receives something.
            more(connection, &mut input).await?;
        }
        Ok(input)
    };
    let rest = caller.host.within(TABLE_MAX, rest).await;
    let input = rest.unwrap_or_else(|| Err(before("its table did not come in time".to_owned())))?;
    if input.len() > bytes {
        return Err(before("it says more than it announced".to_owned()));
    }
    let read = caller
        .host
        // Beside the core: checking a table of a million addresses takes longer than a receiver may be silent.
        .work(bytes, move || Recipients::decode(Bytes::from(input)))
        .await;
    let table = read.map_err(|no| before(no.to_string()))?;
    Ok(Fetched::New(table))
}

async fn more<C: Dialled>(connection: &mut C, input: &mut Vec<u8>) -> Result<(), Broke> {
    let received = connection.receive(input).await;
    received.map_err(|fault| Broke::Before(fault.to_string()))?;
    Ok(())
}

/// Probes the storage node of this index whenever it is due, until `stop`.
pub async fn probe<D: Dial>(caller: Caller<D>, targets: Targets, index: usize, stop: Stop) {
    let target = &targets.all()[index];
    loop {
        // until the stop
        let turn = async {
            if target.is_to_be_probed(caller.host.now()) {
                match caller.probe(target).await {
                    Ok(()) => target.works(),
                    Err(Broke::Before(why)) => target.fails(&why, caller.host.now()),
                    Err(broke) => tracing::debug!(?broke, "no probe now"),
                }
            }
            caller.host.sleep(PROBE_LOOK).await;
        };
        tokio::select! {
            biased;
            () = stop.requested() => return,
            () = turn => {}
        }
    }
}
