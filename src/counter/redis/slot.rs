//! Slots of Redis Cluster: where a key lies, and a hash tag that lies in the same place.

use std::sync::LazyLock;

const SLOTS: u16 = 16_384;

/// The slot of a key without braces.
pub(super) fn of(key: &str) -> u16 {
    crc16(key.as_bytes()) % SLOTS
}

/// A number that, as the text of a hash tag, lies in `slot`; the smallest one, so that all processes agree.
pub(super) fn tag(slot: u16) -> u32 {
    TAGS[usize::from(slot)]
}

/// Found once: some 200,000 numbers are tried, each a step beyond the number without its last digit.
static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut tags = vec![None; usize::from(SLOTS)];
    let (mut missing, mut sums) = (tags.len(), Vec::new());
    for (number, digit) in (0_u32..).zip((b'0'..=b'9').cycle()) {
        let before = if number < 10 { 0 } else { sums[number as usize / 10] };
        let sum = step(before, digit);
        sums.push(sum);
        let tag = &mut tags[usize::from(sum % SLOTS)];
        if tag.is_none() {
            *tag = Some(number);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    tags.into_iter().flatten().collect()
});

/// CRC-16 with the polynomial 0x1021 and 0 to begin with, as the specification of Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| step(crc, *byte))
}

fn step(crc: u16, byte: u8) -> u16 {
    crc << 8 ^ TABLE[usize::from(crc >> 8) ^ usize::from(byte)]
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_checksum_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!((of("foo"), of("bar"), of("")), (12_182, 5_061, 0));
    }

    #[test]
    fn every_slot_has_a_tag_that_lies_in_it() {
        for slot in 0..SLOTS {
            assert_eq!(of(&tag(slot).to_string()), slot);
        }
    }
}
