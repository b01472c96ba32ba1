//! Completions: what the target answers a command with (NVMe base specification 3.3.3.2).

/// What is answered: eight bytes of result, and a status (base 3.3.3.2.1).
pub(super) struct Answer {
    pub(super) result: u64,
    pub(super) status: u16,
}

pub(super) const GOOD: Answer = Answer {
    result: 0,
    status: 0,
};
/// Status codes, with "do not retry" (base 3.3.3.2.1, figure 101).
pub(super) const DNR: u16 = 0x4000;
pub(super) const INVALID_OPCODE: u16 = 0x01 | DNR;
pub(super) const INVALID_FIELD: u16 = 0x02 | DNR;
pub(super) const INTERNAL: u16 = 0x06;
pub(super) const OUT_OF_RANGE: u16 = 0x80 | DNR;
/// Connect: no such subsystem or controller (base 6.3, figure 545).
pub(super) const CONNECT_INVALID: u16 = 0x182 | DNR;

pub(super) fn refused(status: u16) -> Answer {
    Answer { result: 0, status }
}
