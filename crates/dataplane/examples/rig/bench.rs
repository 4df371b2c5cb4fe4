//! Follows.
pub(crate) fn run(_arguments: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    Err("follows".into())
}
