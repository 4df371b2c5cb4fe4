//! Kernel parameters under `/proc/sys`, in the current network namespace where the parameter has one.

use std::path::PathBuf;

use crate::Error;

/// Reads `net.ipv4.ip_forward`-style `key`, without the trailing newline.
///
/// # Errors
/// When the parameter does not exist or may not be read.
pub fn read(key: &str) -> Result<String, Error> {
    let path = path(key)?;
    std::fs::read_to_string(path)
        .map(|value| value.trim_end().to_owned())
        .map_err(|source| Error::system(format!("read sysctl {key}"), source))
}

/// Writes `value` to `key`.
///
/// # Errors
/// When the parameter does not exist, may not be written, or refuses the value.
pub fn write(key: &str, value: &str) -> Result<(), Error> {
    let path = path(key)?;
    std::fs::write(path, value)
        .map_err(|source| Error::system(format!("set sysctl {key} to {value}"), source))
}

/// A `/` inside a key stands for a dot inside an interface's name, as in sysctl(8).
fn path(key: &str) -> Result<PathBuf, Error> {
    let mut path = PathBuf::from("/proc/sys");
    for part in key.split('.') {
        let part = part.replace('/', ".");
        if part.is_empty() || part == ".." || part == "." {
            return Err(Error::Argument(format!("{key} is no sysctl key")));
        }
        path.push(part);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_parameter_reads_as_a_word() {
        assert_eq!(read("kernel.ostype").unwrap(), "Linux");
    }

    #[test]
    fn an_interface_with_a_dot_and_a_walk_upwards_are_told_apart() {
        assert_eq!(
            path("net.ipv4.conf.eth0/100.rp_filter").unwrap().to_str(),
            Some("/proc/sys/net/ipv4/conf/eth0.100/rp_filter")
        );
        assert!(path("net..x").is_err());
        assert!(path("net.//.x").is_err());
    }
}
