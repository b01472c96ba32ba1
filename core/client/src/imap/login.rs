//! Logins of an IMAP session: by password, SCRAM, token or certificate.

use std::sync::atomic::Ordering::Relaxed;

use imap::Event;
use mailbox::Account;
use runtime::{Accepted, Connection};
use storage::owner::Ask;

use super::fault::Failure;
use super::wire::Wire;
use super::{Client, End, Imap};
use crate::limits::SILENCE_GRACE;
use crate::login::Unavailable;
use crate::login::audit::{From as Source, Protocol};

/// Where a login comes from.
pub(super) fn from(client: &Client, connection: &impl Connection) -> Source {
    Source {
        protocol: Protocol::Imap,
        peer: connection.peer().ip(),
        mechanism: client.session.mechanism(),
        tls: connection.tls().map(|tls| tls.version),
    }
}

impl<K: Ask> Imap<K> {
    pub(super) async fn on_login_event(
        &self,
        client: &mut Client,
        connection: &mut Wire<impl Accepted>,
        event: Event,
    ) -> Result<(), End> {
        match event {
            Event::LogIn {
                tag,
                user,
                password,
            } => {
                let from = from(client, connection);
                let (owner, host) = (&self.owner, &self.host);
                let found = self.logins.log_in(owner, host, &from, &user, &password);
                let found = found.await;
                self.on_login(client, connection, &tag, found)
            }
            Event::FindKeys { tag, user } => {
                let from = from(client, connection);
                let found = self.logins.keys(&self.owner, &self.host, &from, &user);
                match found.await {
                    Ok((found, challenge)) => {
                        client.challenge = Some(challenge);
                        client.session.keys_found(found, &mut client.out);
                    }
                    Err(Unavailable) => {
                        client.session.login_deferred();
                        Failure::Busy.put(&mut client.out, &tag);
                    }
                }
                Ok(())
            }
            Event::Proved { tag, proved } => {
                let from = from(client, connection);
                let (owner, host) = (&self.owner, &self.host);
                let challenge = client.challenge.take();
                let found = self.logins.proved(owner, host, &from, proved, challenge);
                let found = found.await;
                self.on_login(client, connection, &tag, found)
            }
            Event::CheckToken { tag, bearer } => {
                let from = from(client, connection);
                let found = self.logins.token(&self.owner, &self.host, &from, bearer);
                let found = match found.await {
                    Ok(Ok(account)) => Ok(Some(account)),
                    Ok(Err(why)) => {
                        self.count_refused(connection);
                        client.session.token_refused(&why, &mut client.out);
                        return Ok(());
                    }
                    Err(unavailable) => Err(unavailable),
                };
                client.session.login_deferred();
                self.on_login(client, connection, &tag, found)
            }
            Event::CheckCertificate { tag, user } => {
                let from = from(client, connection);
                let (owner, host, user) = (&self.owner, &self.host, user.as_deref());
                let tls = connection.tls();
                let found = self.logins.certificate(owner, host, &from, tls, user);
                let found = found.await;
                self.on_login(client, connection, &tag, found)
            }
            _ => unreachable!("`on_event` passes logins on"),
        }
    }

    fn on_login(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        tag: &str,
        found: Result<Option<Account>, Unavailable>,
    ) -> Result<(), End> {
        match found {
            Ok(Some(account)) => {
                self.counters.logins.fetch_add(1, Relaxed);
                tracing::info!(peer = %connection.peer(), account = %account.address, "Logged in");
                client.account = Some(account.id);
                client.challenge = None;
                client.session.belongs_to(&account.address.to_string());
                client.session.logged_in(tag, &mut client.out);
                connection.deadline(self.silences.logged_in + SILENCE_GRACE);
                Ok(())
            }
            Ok(None) => {
                self.count_refused(connection);
                match client.session.login_refused(tag, &mut client.out) {
                    Some(_close) => Err(End::Said),
                    None => Ok(()),
                }
            }
            Err(_) => {
                Failure::Busy.put(&mut client.out, tag);
                Ok(())
            }
        }
    }

    fn count_refused(&self, connection: &impl Connection) {
        self.counters.logins_refused.fetch_add(1, Relaxed);
        tracing::info!(peer = %connection.peer(), "a login was refused");
    }
}
