//! A bounded reader and a writer with back-patched lengths; big endian throughout (RFC 7296 §3).

/// Takes octets off the front of a slice; every read can fail and none can panic.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` octets.
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n)?;
        self.rest = tail;
        Some(head)
    }

    /// The next `n` octets as a reader of their own: nothing inside can read past them.
    pub(crate) fn sub(&mut self, n: usize) -> Option<Self> {
        self.take(n).map(Self::new)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[octet]| octet)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}

/// Where a length has to be filled in once the part it covers is written.
pub(crate) struct Mark {
    start: usize,
    field: usize,
}

/// Appends to a vector and fills lengths in afterwards.
#[derive(Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity) }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.out.extend_from_slice(value);
    }

    /// A part begins here, and its 16-bit length stands `field` octets further on.
    pub(crate) const fn mark(&self, field: usize) -> Mark {
        Mark { start: self.out.len(), field: self.out.len() + field }
    }

    /// Writes the length from the mark's start up to here into the mark's field.
    ///
    /// A part over 65,535 octets cannot be said in IKE nor sent in UDP; its length is written as 65,535,
    /// which every parser, ours too, refuses.
    pub(crate) fn patch_u16(&mut self, mark: &Mark) {
        let length = u16::try_from(self.out.len() - mark.start).unwrap_or(u16::MAX);
        self.put(mark.field, &length.to_be_bytes());
    }

    /// Overwrites octets written before; out of range does nothing.
    pub(crate) fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(field) = self.out.get_mut(at..at + value.len()) {
            field.copy_from_slice(value);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}
