//! The lane to storage's owner: it goes, it is full, or it stands still with what it has taken.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use base::Host;
use base::host::oneshot;
use mailbox::Mailboxes;
use storage::outgoing::Outgoing;
use storage::owner::{Ask, Busy};

/// The three ways in which a receiver meets storage: it answers, it says that it is busy, or it says nothing. The last one is the hard one:
/// what it was asked may happen at any later moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Goes,
    Full,
    Stands,
}

type Held = Box<dyn FnOnce()>;

#[derive(Clone)]
pub struct Way {
    host: Rc<dyn Host>,
    outgoing: Outgoing,
    mode: Rc<Cell<Mode>>,
    held: Rc<RefCell<Vec<Held>>>,
}

impl Way {
    pub fn new(host: Rc<dyn Host>, outgoing: Outgoing) -> Way {
        Way {
            host,
            outgoing,
            mode: Rc::new(Cell::new(Mode::Goes)),
            held: Rc::default(),
        }
    }

    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    pub fn set(&self, mode: Mode) {
        self.mode.set(mode);
    }

    /// What it had taken begins, in order.
    pub fn let_go(&self) {
        self.mode.set(Mode::Goes);
        let held = std::mem::take(&mut *self.held.borrow_mut());
        held.into_iter().for_each(|begin| begin());
    }
}

impl Ask for Way {
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        self.ask_outgoing(|outgoing| work(outgoing.mailboxes().clone()))
            .await
    }

    async fn ask_outgoing<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Outgoing) -> F + Send + 'static,
    {
        let (sender, receiver) = oneshot();
        let (host, outgoing) = (self.host.clone(), self.outgoing.clone());
        let begin: Held = Box::new(move || {
            let task = work(outgoing);
            host.spawn(Box::pin(async move { sender.send(task.await) }));
        });
        match self.mode.get() {
            Mode::Full => return Err(Busy),
            // Taken and not begun. The caller may stop waiting; the work stays, as in the ring of a real lane.
            Mode::Stands => self.held.borrow_mut().push(begin),
            Mode::Goes => begin(),
        }
        receiver.await.ok_or(Busy)
    }

    fn refuses_mail(&self) -> bool {
        let volume = self.outgoing.mailboxes().store().volume();
        volume.refuses().is_some()
    }
}
