//! Sizes in bytes, parsed and formatted.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// A text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size; write a number with B, KB, MB, GB, KiB, MiB or GiB")]
pub struct SizeError(String);

impl ByteSize {
    /// A size from mebibytes, the unit of the `*_MB` variables (as `du -m` and `ls --block-size=M`
    /// of the shell scripts counted them).
    pub fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kB", bytes / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} MB", bytes / 1e6),
            _ => write!(f, "{:.2} GB", bytes / 1e9),
        }
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || SizeError(text.to_owned());
        let trimmed = text.trim();
        let split = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let number: f64 = trimmed[..split].parse().map_err(|_| bad())?;
        let unit: f64 = match trimmed[split..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            _ => return Err(bad()),
        };
        let bytes = number * unit;
        if bytes > 9e18 {
            Err(bad())
        } else {
            Ok(Self(bytes as u64))
        }
    }
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with its noun: `1 file`, `1,234 files`, `2 copies`, `3 processes`. For nouns whose plural ends with s.
pub fn counted(number: u64, noun: &str) -> String {
    let number_of = |noun: &str, ending: &str| format!("{} {noun}{ending}", grouped(number));
    match (number, noun.strip_suffix('y')) {
        (1, _) => number_of(noun, ""),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => number_of(stem, "ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => number_of(noun, "es"),
        _ => number_of(noun, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(0, "row"), "0 rows");
        assert_eq!(counted(1234, "row"), "1,234 rows");
        assert_eq!(counted(1, "copy"), "1 copy");
        assert_eq!(counted(2, "copy"), "2 copies");
        assert_eq!(counted(2, "day"), "2 days");
        assert_eq!(counted(2, "process"), "2 processes");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!("10 MB".parse(), Ok(ByteSize(10_000_000)));
        assert_eq!("1.5GiB".parse(), Ok(ByteSize(1_610_612_736)));
        assert_eq!("512".parse(), Ok(ByteSize(512)));
        assert_eq!(ByteSize(1_234_567).to_string(), "1.2 MB");
        assert!("ten".parse::<ByteSize>().is_err());
        assert!("1e99 GB".parse::<ByteSize>().is_err());
    }
}
