//! Random numbers for the steps of properties. quickcheck checks each property in 100 cases, or in `QUICKCHECK_TESTS`, and
//! shortens the steps that break it.

#![allow(dead_code, reason = "each test file uses its part")]

use quickcheck::Gen;

/// A number below `end`, each as often as the others. (Of the numbers that quickcheck draws itself, a tenth are 0, 1 or the
/// greatest.)
pub(crate) fn below(g: &mut Gen, end: usize) -> usize {
    const DIGITS: [usize; 64] = {
        let mut digits = [0; 64];
        let mut digit = 0;
        while digit < 64 {
            digits[digit] = digit;
            digit += 1;
        }
        digits
    };
    let mut digit = || g.choose(&DIGITS).expect("there are some");
    (digit() * 64 * 64 + digit() * 64 + digit()) % end
}

/// As [`below`], for other types of numbers.
pub(crate) fn below_u8(g: &mut Gen, end: u8) -> u8 {
    u8::try_from(below(g, end.into())).expect("it is below `end`")
}
