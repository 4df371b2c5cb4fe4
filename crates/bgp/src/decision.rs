//! The choice between paths to one prefix from several neighbours: RFC 4271 §9.1.2.2, numbered.
