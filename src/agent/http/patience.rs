//! A deadline for each single read that can be changed while an answer comes: long until it begins, shorter afterwards.
//! A thin layer around the real transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// The longest silence that is tolerated just now; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Patience(Arc<AtomicU64>);

impl Default for Patience {
    fn default() -> Patience {
        Patience(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Patience {
    pub(super) fn set(&self, silence: Duration) {
        self.0.store(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        let millis = self.0.load(Ordering::Relaxed);
        (millis != u64::MAX).then(|| Duration::from_millis(millis))
    }
}

/// Puts [`Patience`] around every connection.
#[derive(Debug)]
pub(super) struct PatientConnector(Patience);

impl PatientConnector {
    pub(super) fn new(patience: Patience) -> PatientConnector {
        PatientConnector(patience)
    }
}

impl<In: Transport> Connector<In> for PatientConnector {
    type Out = Patient<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Patient<In>>, Error> {
        Ok(chained.map(|inner| Patient { inner, patience: self.0.clone() }))
    }
}

/// A transport with that deadline.
#[derive(Debug)]
pub(super) struct Patient<In> {
    inner: In,
    patience: Patience,
}

impl<In: Transport> Transport for Patient<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, Error> {
        timeout.per_read = self.patience.get().map(Into::into);
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
