//! What every implementation of a trait must hold, whichever it is: a new one runs through the
//! same.

mod format;
mod storage;
