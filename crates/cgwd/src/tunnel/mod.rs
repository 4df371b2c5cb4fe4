//! What the supervisor knows about one tunnel, and what follows from it; nothing here is asynchronous.

pub mod echo;
pub mod health;
pub mod probe;
pub mod stage;
pub mod weak;
