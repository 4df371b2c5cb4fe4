//! Colours of a terminal, where there is one.

/// Paints, or leaves text as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    /// Whether colours are wanted.
    pub(crate) colour: bool,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Stands out.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// All is well.
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Worth a look.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Broken.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }
}
