//! What bytes and arrays of numbers cost beside text of the same size: bytes of an archived value, and medians of set and get, which take turns.
//!
//! `cargo run --release --example arrays -- [ROUNDS]`

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use tastypod::{Options, Pod, Result};

const MIB: usize = 1 << 20;

/// One kind of value and the microseconds that its sets and gets took.
struct Kind<'p> {
    name: &'static str,
    set: Box<dyn Fn() -> Result<()> + 'p>,
    get: Box<dyn Fn() -> Result<()> + 'p>,
    sets: Vec<f64>,
    gets: Vec<f64>,
}

impl<'p> Kind<'p> {
    fn new<T: Serialize + DeserializeOwned + 'p>(pod: &'p Pod, name: &'static str, value: T) -> Kind<'p> {
        let set = move || pod.set(name, black_box(&value));
        let get = move || pod.get_as::<T>(name).map(|value| drop(black_box(value)));
        Kind { name, set: Box::new(set), get: Box::new(get), sets: Vec::new(), gets: Vec::new() }
    }
}

fn microseconds(call: &dyn Fn() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    call()?;
    Ok(start.elapsed().as_nanos() as f64 / 1e3)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(301), |rounds| rounds.parse())?;
    let directory = tempfile::tempdir()?;
    let pod = Options::new().sync_at(usize::MAX).open(directory.path().join("arrays.pod"))?;
    let bytes: Vec<u8> = (0..MIB).map(|index| (index * 31 % 251) as u8).collect();
    let integers: Vec<i64> = (0..MIB as i64 / 8).map(|index| index * 7_777_777 - 1_000_000).collect();
    let floats: Vec<f64> = integers.iter().map(|value| *value as f64 / 7.0).collect();
    let mut kinds = [
        Kind::new(&pod, "String", "x".repeat(MIB)),
        Kind::new(&pod, "serde_bytes::ByteBuf", serde_bytes::ByteBuf::from(bytes.clone())),
        Kind::new(&pod, "Vec<u8>", bytes),
        Kind::new(&pod, "Vec<i64>", integers),
        Kind::new(&pod, "Vec<f64>", floats),
    ];
    for _ in 0..rounds {
        for kind in &mut kinds {
            kind.sets.push(microseconds(&kind.set)?);
            kind.gets.push(microseconds(&kind.get)?);
        }
    }
    let (mut text_set, mut text_get) = (None, None);
    println!("{:22} {:>10} {:>10} {:>6} {:>10} {:>6}", "1 MiB as", "bytes", "set, µs", "×", "get, µs", "×");
    for kind in &mut kinds {
        let (set, get) = (median(&mut kind.sets), median(&mut kind.gets));
        let (text_set, text_get) = (*text_set.get_or_insert(set), *text_get.get_or_insert(get));
        let size = pod.view(kind.name)?.map_or(0, |view| view.byte_len());
        println!("{:22} {size:10} {set:10.0} {:6.2} {get:10.0} {:6.2}", kind.name, set / text_set, get / text_get);
    }
    Ok(())
}
