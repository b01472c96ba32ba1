//! The memory for messages that all sessions of people share: shares for accounts, so that none makes another's reads fail.

use runtime::Budget;

use crate::limits::{
    COMPRESSING_SHARE, COMPRESSING_SHARE_OF_ACCOUNT, NOTIFYING_SHARE, NOTIFYING_SHARE_OF_ACCOUNT,
    ORDERS_SHARE, ORDERS_SHARE_OF_ACCOUNT, READING_SHARE, READING_SHARE_BYTES_MIN, SENDING_SHARE,
    SENDING_SHARE_BYTES_MIN,
};
use crate::orders::Orders;

/// Bytes of messages in memory, over all cores and services, POP3's too. All have shares.
#[derive(Clone)]
pub struct Memory {
    /// Bodies that we look into (SEARCH, parts that are decoded), held at our own pace. A share holds the largest message.
    pub reading: Budget,
    /// Bodies that wait for clients to take them.
    pub sending: Budget,
    /// APPENDs on their way in; shared with the receivers.
    pub receiving: Budget,
    /// What compressed connections keep of their clients' streams: a part of what `sending` was given.
    pub compressing: Budget,
    /// What is kept for clients that asked to be notified: the same.
    pub notifying: Budget,
    /// What SORT and THREAD keep for the next one: a part of what `reading` was given.
    pub orders: Orders,
}

impl Memory {
    /// With the shares of `limits`; `receiving` is the receivers'.
    pub fn new(reading_bytes: usize, sending_bytes: usize, receiving: Budget) -> Memory {
        let reading_share = (reading_bytes / READING_SHARE).max(READING_SHARE_BYTES_MIN);
        let beside = reading_bytes.saturating_sub(READING_SHARE_BYTES_MIN);
        let orders_bytes = beside.min(reading_bytes / ORDERS_SHARE);
        let reading_bytes = reading_bytes - orders_bytes;
        let compressing_bytes = sending_bytes / COMPRESSING_SHARE;
        let compressing_share = compressing_bytes / COMPRESSING_SHARE_OF_ACCOUNT;
        let notifying_bytes = sending_bytes / NOTIFYING_SHARE;
        let notifying_share = notifying_bytes / NOTIFYING_SHARE_OF_ACCOUNT;
        let sending_bytes = sending_bytes - compressing_bytes - notifying_bytes;
        let sending_share = (sending_bytes / SENDING_SHARE).max(SENDING_SHARE_BYTES_MIN);
        Memory {
            reading: Budget::with_shares(reading_bytes, reading_share),
            sending: Budget::with_shares(sending_bytes, sending_share),
            receiving,
            compressing: Budget::with_shares(compressing_bytes, compressing_share),
            notifying: Budget::with_shares(notifying_bytes, notifying_share),
            orders: Orders::new(orders_bytes, orders_bytes / ORDERS_SHARE_OF_ACCOUNT),
        }
    }
}
