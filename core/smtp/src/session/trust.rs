//! Peers that the caller trusts: proxies, which speak for clients of theirs, and other zones of ours, which say which delivery a message is.

use super::{Session, State, greet};

impl<R> Session<R> {
    /// The peer may use XCLIENT from now on, for any number of clients.
    pub fn trust(&mut self) {
        self.trusted = true;
    }

    /// The peer is another zone of ours: XDELIVERY is offered, and taken. Only after its certificate was proved.
    pub fn trust_zone(&mut self) {
        self.is_zone = true;
    }

    /// What XDELIVERY says of the open transaction.
    pub fn delivery(&self) -> Option<&str> {
        let transaction = self.transaction.as_ref()?;
        transaction.delivery.as_deref()
    }

    /// Answers `Action::Forwarded`: the conversation begins again, with the greeting. `hello` is the client's, if the proxy said it.
    pub fn forwarded(&mut self, hello: Option<String>, output: &mut Vec<u8>) {
        assert!(matches!(self.state, State::Forwarded), "no XCLIENT came");
        self.state = State::Command;
        self.hello = None;
        self.logged_in = false;
        self.forwarded_hello = hello.map(String::into_boxed_str);
        self.login_failures = 0;
        (self.errors, self.faults, self.refused_recipients) = (0, 0, 0);
        (self.excess_recipients, self.idle_commands) = (0, 0);
        greet(&self.config, output);
    }
}
