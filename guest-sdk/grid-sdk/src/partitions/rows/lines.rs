//! Rows of a text without quotes: lines that are split at commas, without a copy of what nobody wants.

/// In each byte of a word: 1, and all bits but the highest.
const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// The highest bit of each byte of a word that is the same as in another.
fn same_bytes(word: u64, other: u64) -> u64 {
    let differs = word ^ other;
    // Without carries from byte to byte, so each bit is right.
    !(((differs & LOW) + LOW) | differs | LOW)
}

/// Whether lines and commas are all that divides a text into fields.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    // One pass that finds neither is what nearly always happens.
    if memchr::memchr2(b'"', b'\r', bytes).is_none() {
        return true;
    }
    let mut returns = memchr::memchr_iter(b'\r', bytes);
    memchr::memchr(b'"', bytes).is_none() && returns.all(|at| bytes.get(at + 1) == Some(&b'\n'))
}

/// Where the line ends that begins there, without its end, and where the next one begins.
pub(super) fn line_end(bytes: &[u8], start: usize) -> (usize, usize) {
    let (end, next) = match memchr::memchr(b'\n', &bytes[start..]) {
        Some(length) => (start + length, start + length + 1),
        None => (bytes.len(), bytes.len()),
    };
    (if end > start && bytes[end - 1] == b'\r' { end - 1 } else { end }, next)
}

/// Calls for the place of each comma, in order, and says how many there were. After a false answer it only
/// counts.
pub(super) fn commas(line: &[u8], mut see: impl FnMut(usize) -> bool) -> usize {
    let mut count = 0;
    let mut looking = true;
    let (words, rest) = line.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let mut found = same_bytes(u64::from_le_bytes(*word), ONES * u64::from(b','));
        count += found.count_ones() as usize;
        while looking && found != 0 {
            looking = see(number * 8 + found.trailing_zeros() as usize / 8);
            found &= found - 1;
        }
    }
    for (place, _) in rest.iter().enumerate().filter(|(_, byte)| **byte == b',') {
        count += 1;
        looking = looking && see(words.len() * 8 + place);
    }
    count
}
