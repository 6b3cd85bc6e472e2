//! Threads: as many as the system gives, and an error where it gives none.
//!
//! Left to themselves, tokio and rayon panic where no thread can be begun, or wait for one for
//! ever. It does not know what is done on them.

use std::any::Any;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinError;

use crate::error::thread_spawn::ThreadSpawnError;
use crate::error::{Error, Result, catch_panic};

/// Begins the threads that work is shared between. They are begun once.
///
/// # Errors
/// There are none to be had.
pub fn start_rayon_pool() -> Result<()> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Else they were begun before.
        Err(error) => error.source().map_or(Ok(()), |source| {
            Err(ThreadSpawnError(source.to_string()).into())
        }),
        Ok(()) => Ok(()),
    }
}

/// A runtime that waits. It has one worker: where a second one cannot be begun, tokio waits for the
/// first for ever.
///
/// # Errors
/// Its threads cannot be begun.
pub fn build_runtime(builder: &mut Builder) -> Result<Runtime> {
    let built = catch_panic(|| builder.worker_threads(1).build())?;
    built.map_err(|error| ThreadSpawnError(error.to_string()).into())
}

/// How many steps a thread is ahead at most.
const AHEAD: usize = 1;

/// Does something with each of what comes, while the next comes on a thread of its own.
///
/// # Errors
/// What comes or what is done with it fails, or there is no thread for it.
pub fn read_ahead<T: Send, E: Send + From<Error>>(
    mut next: impl FnMut() -> Result<Option<T>, E> + Send,
    mut each: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let (send, receive) = sync_channel(AHEAD);
    let read = move || {
        loop {
            let read = next().transpose();
            let is_end = !matches!(read, Some(Ok(_)));
            // Who waited for it may have gone.
            let is_gone = read.is_some_and(|read| send.send(read).is_err());
            if is_end || is_gone {
                return;
            }
        }
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, read);
        let thread = thread.map_err(|error| Error::from(ThreadSpawnError(error.to_string())))?;
        let done = receive.into_iter().try_for_each(|read| each(read?));
        match thread.join() {
            Ok(()) => done,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Why a task brought nothing back: what it did panicked.
pub fn join_error(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => Error::from_panic(panic),
        Err(error) => Error::internal(error),
    }
}

/// Something to do on a thread.
type ThreadJob = Box<dyn FnOnce() + Send>;

/// Threads for what takes its time or waits: as many as there is work at once. They stay for more.
#[derive(Clone, Debug, Default)]
pub struct ThreadPool(Arc<Mutex<IdleThreads>>);

/// The threads that have nothing to do, by number.
#[derive(Debug, Default)]
struct IdleThreads {
    last_number: u64,
    threads: HashMap<u64, Sender<ThreadJob>>,
}

impl ThreadPool {
    /// Does work on a thread; what is given waits for it. A panic goes on where it is waited for.
    ///
    /// # Errors
    /// Of what is given: there is no thread to be had, and nothing was done.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        let (done, waited) = oneshot::channel::<Result<T, Box<dyn Any + Send>>>();
        let begun = self.start(Box::new(move || {
            // Who waited may have gone.
            drop(done.send(catch_unwind(AssertUnwindSafe(work))));
        }));
        async move {
            begun.map_err(|error| ThreadSpawnError(error.to_string()))?;
            match waited.await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(error) => Err(Error::internal(error)),
            }
        }
    }

    fn start(&self, job: ThreadJob) -> io::Result<()> {
        let mut idle = self.lock_idle();
        let free = idle
            .threads
            .keys()
            .next()
            .copied()
            .and_then(|number| idle.threads.remove(&number));
        if let Some(thread) = free {
            // A thread that is idle has not ended.
            return thread
                .send(job)
                .map_err(|_| io::Error::other("it has ended"));
        }
        idle.last_number += 1;
        let (number, threads) = (idle.last_number, Arc::downgrade(&self.0));
        drop(idle);
        let work = move || {
            let mut job = job;
            loop {
                job();
                let (sender, next) = channel();
                let Some(threads) = threads.upgrade() else {
                    return;
                };
                ThreadPool(threads)
                    .lock_idle()
                    .threads
                    .insert(number, sender);
                match next.recv() {
                    Ok(more) => job = more,
                    Err(_) => return,
                }
            }
        };
        thread::Builder::new()
            .name("hygge work".into())
            .spawn(work)
            .map(drop)
    }

    fn lock_idle(&self) -> MutexGuard<'_, IdleThreads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
