//! Repeatable chance. A test run always takes the same seeds and the same amounts; whoever explores (`.ci/deep`) asks for
//! others through the environment, and every seed is printed.

/// What the environment asks for instead of the usual number.
pub fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// `TASTYPOD_SEED`, or the seed that every ordinary run has.
pub fn seed() -> u64 {
    let seed = asked("TASTYPOD_SEED", 1);
    println!("TASTYPOD_SEED={seed}");
    seed
}

/// Whether nothing is to be left out: `TASTYPOD_THOROUGH` is set.
pub fn is_thorough() -> bool {
    std::env::var_os("TASTYPOD_THOROUGH").is_some()
}

/// One of so many, beginning with the seed's; all of them where nothing is to be left out.
pub fn every<T>(one_in: usize, items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let stride = if is_thorough() { 1 } else { one_in };
    let first = asked("TASTYPOD_SEED", 1) as usize % stride;
    items.into_iter().skip(first).step_by(stride)
}

/// Steele, Lea and Flood's SplitMix64: any seed is as good as any other.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    pub fn is(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }
}
