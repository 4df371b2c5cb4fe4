use super::*;

#[test]
fn the_example_parses_without_a_warning() {
    let text = include_str!("../../../../config/cgwd.example.toml");
    let loaded = parse(text, "cgwd.example.toml").unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.warnings.to_string(), "");
    assert_eq!(loaded.config.connections.len(), 2);
}
