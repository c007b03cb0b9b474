//! Queues between threads for what goes from hand to hand a few times a second. The library compiles a queue of each of
//! its kinds for every type of message; here a message travels in a box without a type, so that all share one (the state
//! thread's own queue and those of the writers, where every message counts, do not). Errors are the library's own.

use std::any::Any;
use std::marker::PhantomData;
use std::time::Duration;

use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TrySendError};

/// A message on its way.
pub type Parcel = Box<dyn Any + Send>;

/// The end that sends; clones send to the same queue.
#[derive(Debug)]
pub struct Sender<T>(crossbeam_channel::Sender<Parcel>, PhantomData<fn(T)>);

/// The end that takes.
#[derive(Debug)]
pub struct Receiver<T>(crossbeam_channel::Receiver<Parcel>, PhantomData<fn() -> T>);

/// A queue that holds so many at most.
pub fn bounded<T: Send + 'static>(most: usize) -> (Sender<T>, Receiver<T>) {
    typed(crossbeam_channel::bounded(most))
}

/// A queue that holds any number.
pub fn unbounded<T: Send + 'static>() -> (Sender<T>, Receiver<T>) {
    typed(crossbeam_channel::unbounded())
}

fn typed<T>(
    ends: (crossbeam_channel::Sender<Parcel>, crossbeam_channel::Receiver<Parcel>),
) -> (Sender<T>, Receiver<T>) {
    (Sender(ends.0, PhantomData), Receiver(ends.1, PhantomData))
}

/// What is in a parcel of a queue of this type.
///
/// # Panics
/// When it is of another type, which a [`Sender`] does not let in.
fn opened<T: 'static>(parcel: Parcel) -> T {
    *parcel.downcast().expect("a queue holds what its type says")
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone(), PhantomData)
    }
}

impl<T: Send + 'static> Sender<T> {
    /// Waits for room; gives the message back when nobody will take it.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.send(Box::new(message)).map_err(|back| SendError(opened(back.0)))
    }

    /// Gives the message back when there is no room, too.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(Box::new(message)).map_err(|back| match back {
            TrySendError::Full(back) => TrySendError::Full(opened(back)),
            TrySendError::Disconnected(back) => TrySendError::Disconnected(opened(back)),
        })
    }
}

impl<T: Send + 'static> Receiver<T> {
    /// Waits for the next; an error says that the queue is empty and nobody will send.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.recv().map(opened)
    }

    /// Waits for the next, but not longer than this.
    pub fn recv_timeout(&self, most: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv_timeout(most).map(opened)
    }

    /// All that come, until nobody will send.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Those that are there already.
    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        self.0.try_iter().map(opened)
    }

    /// The queue to `select!` from; what that brings is for [`Receiver::open`].
    pub fn parcels(&self) -> &crossbeam_channel::Receiver<Parcel> {
        &self.0
    }

    /// What came out of [`Receiver::parcels`].
    pub fn open(&self, parcel: Parcel) -> T {
        opened(parcel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_and_come_back_when_there_is_no_room_or_nobody() {
        let (to, from) = bounded(2);
        assert!(to.send("one".to_string()).is_ok() && to.clone().try_send("two".to_string()).is_ok());
        assert!(matches!(to.try_send("three".to_string()), Err(TrySendError::Full(back)) if back == "three"));
        assert_eq!(from.recv_timeout(Duration::ZERO).as_deref(), Ok("one"));
        assert_eq!(from.open(from.parcels().recv().unwrap()), "two");
        assert_eq!(from.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        drop(from);
        assert_eq!(to.send("four".to_string()).unwrap_err().0, "four");
        assert!(matches!(to.try_send("five".to_string()), Err(TrySendError::Disconnected(back)) if back == "five"));
    }

    #[test]
    fn what_was_sent_is_taken_after_the_last_sender_has_gone() {
        let (to, from) = unbounded();
        (0..3).for_each(|n| to.send(n).unwrap());
        drop(to);
        assert_eq!(from.iter().collect::<Vec<i32>>(), [0, 1, 2]);
        assert_eq!(from.recv(), Err(RecvError));
    }
}
