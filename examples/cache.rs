//! A cache whose entries expire. All processes that open it share it, and it survives their end.
//!
//! `cargo run --release --example cache -- cache.pod 60`: entries are good for 60 seconds.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};
use tastypod::{Pod, Value};

#[derive(Serialize, Deserialize)]
struct Cached {
    text: String,
    /// Seconds since 1970.
    expires: u64,
}

fn is_expired(value: &Value, now: u64) -> bool {
    value["expires"].as_u64().is_none_or(|expires| expires <= now)
}

struct Cache {
    pod: Pod,
    seconds: u64,
}

impl Cache {
    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// The text of a key. If it is absent or expired, `make` makes it. It runs under the store's lock, so only one process makes it, and
    /// other writers wait.
    fn get(&self, key: &str, make: impl FnOnce() -> String) -> Result<String, Box<dyn Error>> {
        let now = Self::now();
        self.pod.remove_if(key, |value| is_expired(value, now))?;
        let value = self.pod.get_or_insert_with(key, || Cached { text: make(), expires: now + self.seconds })?;
        Ok(serde_json::from_value::<Cached>(value)?.text)
    }

    /// Removes all expired entries, and returns how many there were.
    fn sweep(&self) -> tastypod::Result<usize> {
        let now = Self::now();
        self.pod.retain(|_key, value| !is_expired(value, now))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "cache.pod".to_owned());
    let seconds = std::env::args().nth(2).map_or(Ok(60), |seconds| seconds.parse())?;
    let cache = Cache { pod: Pod::open(path)?, seconds };
    println!("{} expired", cache.sweep()?);
    let mut made = 0;
    for n in [10, 20, 30, 20, 10] {
        let text = cache.get(&format!("sum to {n}"), || {
            made += 1;
            (1..=n).sum::<u64>().to_string()
        })?;
        println!("sum to {n}: {text}");
    }
    println!("made {made}, kept {}", cache.pod.len());
    Ok(())
}
