//! Questions put to a peer that refuses us, to tell people why.
//!
//! What comes back is not authenticated: it changes what is said, never what is done.

pub mod ikev1;
pub mod offer;
