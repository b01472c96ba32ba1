//! What each listener does with its connections.

use super::*;

/// What serves mail from other servers, by the protocol.
pub(super) type Strangers = Box<dyn Fn(Role) -> runtime::listener::Serve>;

/// Reception of mail from other servers on this thread, for `keeper`.
pub(super) fn strangers<K: Keeper + 'static>(
    core: &Core,
    serving: &Serving,
    names: Resolver,
    keeper: K,
) -> Strangers {
    let receiver = MailReceiver::new(
        keeper,
        serving.memory.receiving.clone(),
        serving.placed.clone(),
    );
    let enforcement = match serving.plan.authentication {
        Authentication::Enforce => Some(Enforcement::Enforce),
        Authentication::Report => Some(Enforcement::Report),
        Authentication::Off => None,
    };
    let (scan, found) = (&serving.scan, serving.metrics.scan());
    // Only where there is a quarantine for them: else they are refused.
    let keeps_viruses =
        serving.quarantine.is_some() && serving.plan.quarantine.verdicts.contains(&Verdict::Virus);
    let strangers = scan::of_strangers(core, scan, keeps_viruses, found);
    let receiver = receiver.inspecting(strangers);
    let receiver = match &serving.quarantine {
        Some(quarantine) => receiver.quarantining(quarantine.clone()),
        None => receiver,
    };
    let receiver = match enforcement {
        Some(enforcement) => receiver.authenticating(Rc::new(Authenticator {
            names: names.clone(),
            enforcement,
        })),
        None => receiver,
    };
    // Counts are kept by storage: a node without it makes no reports.
    let receiver = match serving.plan.runs(Zone::Storage) {
        true => {
            let reporting = serving.reports.of_receivers(&serving.plan, serving.sends());
            receiver.reporting(reporting)
        }
        false => receiver,
    };
    let receiver = Rc::new(match serving.plan.spam {
        Some(spam) => {
            let refuse = spam.refuse_tenths.map(Points);
            receiver.judging(Judge::new(Points(spam.junk_tenths), refuse))
        }
        None => receiver,
    });
    let doorway = Doorway::new(serving.door.clone(), SessionHost::of_core(), names);
    serving.metrics.add_receiver(receiver.counters().clone());
    let serving = serving.clone();
    Box::new(move |role| receive(&serving, &receiver, &doorway, role))
}

/// What serves a connection of SMTP or LMTP.
fn receive<K: Keeper + 'static>(
    serving: &Serving,
    receiver: &Rc<MailReceiver<K>>,
    doorway: &Doorway,
    role: Role,
) -> runtime::listener::Serve {
    let config = smtp::Config {
        role,
        service: smtp::Service::Exchange,
        hostname: serving.plan.server_name.clone(),
        limits: smtp::Limits {
            message_bytes_max: serving.plan.message_bytes_max,
            ..smtp::Limits::default()
        },
        tls_available: true,
        tls_required: false,
    };
    // LMTP comes from servers of the operator's.
    let door = (role == Role::Smtp).then(|| doorway.clone());
    let settings = Rc::new(receive::Settings {
        smtp: Arc::new(config),
        tls: Some(serving.tls.clone()),
        postmaster: serving.postmaster.clone(),
        door,
    });
    let receiver = receiver.clone();
    Rc::new(move |connection| {
        let (receiver, settings) = (receiver.clone(), settings.clone());
        Box::pin(async move { receiver.serve(&settings, connection).await })
    })
}

/// What serves a connection of submission. Passwords without TLS are taken from the loopback only, in trial mode.
pub(super) fn submit(serving: &Serving, submitter: &Rc<Submitter>) -> runtime::listener::Serve {
    let tls = || Some(serving.tls_of_people.clone());
    let settings = |without_tls| Rc::new(submission_settings(serving, without_tls, tls()));
    let (usual, on_loopback) = (settings(false), settings(serving.login_on_loopback));
    let submitter = submitter.clone();
    Rc::new(move |connection| {
        let is_here = connection.peer().ip().to_canonical().is_loopback();
        let settings = if is_here { &on_loopback } else { &usual };
        let (submitter, settings) = (submitter.clone(), settings.clone());
        Box::pin(async move { submitter.serve(&settings, connection).await })
    })
}

/// Without `tls` no STARTTLS is offered.
pub(super) fn submission_settings(
    serving: &Serving,
    login_without_tls: bool,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> submit::Settings {
    let sending = serving.plan.sending;
    submit::Settings {
        smtp: Arc::new(smtp::Config {
            role: Role::Smtp,
            service: smtp::Service::Submission { login_without_tls },
            hostname: serving.plan.server_name.clone(),
            limits: smtp::Limits {
                message_bytes_max: serving.plan.message_bytes_max,
                ..smtp::Limits::default()
            },
            tls_available: tls.is_some(),
            tls_required: false,
        }),
        tls,
        postmaster: serving.postmaster.clone(),
        rates: submit::Rates {
            messages_per_hour: sending.messages_per_hour,
            messages_per_day: sending.messages_per_day,
            recipients_per_hour: sending.recipients_per_hour,
            recipients_per_day: sending.recipients_per_day,
        },
    }
}

/// As people reach IMAP.
pub(super) fn imap_settings(serving: &Serving) -> imap::Settings {
    imap::Settings {
        tls: Some(serving.tls_of_people.clone()),
        login_on_loopback: serving.login_on_loopback,
        append_bytes_max: serving.plan.message_bytes_max as usize,
        hide: serving.plan.imap_hide.iter().map(hidden).collect(),
    }
}

/// Where people store scripts (RFC 5804 §3, RFC 6785); `None`: this node takes none.
pub(super) fn sieve_url(serving: &Serving) -> Option<Arc<str>> {
    let plan = &serving.plan;
    let listener = plan.listener(Service::Managesieve)?;
    let port = listener.addresses.first()?.port();
    let name = &plan.server_name;
    Some(match port {
        4190 => format!("sieve://{name}").into(),
        port => format!("sieve://{name}:{port}").into(),
    })
}

/// What serves a connection of IMAP.
pub(super) fn read(serving: &Serving, reader: &Rc<Imap>) -> runtime::listener::Serve {
    let settings = Rc::new(imap_settings(serving));
    let reader = reader.clone();
    Rc::new(move |connection| {
        let (reader, settings) = (reader.clone(), settings.clone());
        Box::pin(async move { reader.serve(&settings, connection).await })
    })
}

fn hidden(rule: &plan::imap::Hide) -> imap::Hide {
    imap::Hide {
        client: rule.client.as_deref().map(Box::from),
        account: rule.account.as_deref().map(Box::from),
        capabilities: rule
            .capabilities
            .iter()
            .map(|word| word[..].into())
            .collect(),
    }
}

/// What serves a connection of POP3.
pub(super) fn fetch(serving: &Serving, fetcher: &Rc<Pop3>) -> runtime::listener::Serve {
    let settings = Rc::new(pop3::Settings {
        tls: Some(serving.tls_of_people.clone()),
        login_on_loopback: serving.login_on_loopback,
    });
    let fetcher = fetcher.clone();
    Rc::new(move |connection| {
        let (fetcher, settings) = (fetcher.clone(), settings.clone());
        Box::pin(async move { fetcher.serve(&settings, connection).await })
    })
}

/// What serves a connection of ManageSieve.
pub(super) fn edit(serving: &Serving, editor: &Rc<ManageSieve>) -> runtime::listener::Serve {
    let settings = Rc::new(managesieve::Settings {
        tls: Some(serving.tls_of_people.clone()),
        login_on_loopback: serving.login_on_loopback,
    });
    let editor = editor.clone();
    Rc::new(move |connection| {
        let (editor, settings) = (editor.clone(), settings.clone());
        Box::pin(async move { editor.serve(&settings, connection).await })
    })
}
