#!/usr/bin/env bash
# flate2 1.1.11, MultiGzDecoder (both `read` and `bufread`): two gzip members with zeros between or behind them are an error. It gives
# the bytes up to there and then the error "invalid gzip header". Python's gzip module (seen with 3.11) passes the zeros by and reads both
# members; the manual of GNU gzip speaks of such padding, which tapes and block devices ask for.
#
# Seen: flate2 1.1.11 with its default backend says
#     read zeros-between: 4 bytes, then InvalidInput "invalid gzip header"
#     read zeros-behind: 8 bytes, then InvalidInput "invalid gzip header"
#     bufread zeros-between: 4 bytes, then InvalidInput "invalid gzip header"
#     bufread zeros-behind: 8 bytes, then InvalidInput "invalid gzip header"
# and Python 3 says
#     zeros-between: 8 bytes
#     zeros-behind: 8 bytes
#
# Fails if that changes. Needs cargo and python3.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 - <<'PYTHON'
import gzip
one, two = gzip.compress(b"one\n", mtime=0), gzip.compress(b"two\n", mtime=0)
open("zeros-between", "wb").write(one + bytes(512) + two)
open("zeros-behind", "wb").write(one + two + bytes(512))
PYTHON
cargo init -q --name finding --vcs none .
cargo add -q flate2@=1.1.11
cat >src/main.rs <<'RUST'
use std::io::Read;

fn say(how: &str, name: &str, mut decoder: impl Read) {
    let mut text = Vec::new();
    match decoder.read_to_end(&mut text) {
        Ok(_) => println!("{how} {name}: {} bytes", text.len()),
        Err(error) => println!("{how} {name}: {} bytes, then {:?} {:?}", text.len(), error.kind(), error.to_string()),
    }
}

fn main() {
    for name in ["zeros-between", "zeros-behind"] {
        say("read", name, flate2::read::MultiGzDecoder::new(std::fs::File::open(name).unwrap()));
        say("bufread", name, flate2::bufread::MultiGzDecoder::new(&std::fs::read(name).unwrap()[..]));
    }
}
RUST
cargo run -q >seen
python3 - >>seen <<'PYTHON'
import gzip
for name in ["zeros-between", "zeros-behind"]:
    print(f"{name}: {len(gzip.open(name).read())} bytes")
PYTHON
cat seen
diff <(sort seen) - <<'EXPECTED'
bufread zeros-behind: 8 bytes, then InvalidInput "invalid gzip header"
bufread zeros-between: 4 bytes, then InvalidInput "invalid gzip header"
read zeros-behind: 8 bytes, then InvalidInput "invalid gzip header"
read zeros-between: 4 bytes, then InvalidInput "invalid gzip header"
zeros-behind: 8 bytes
zeros-between: 8 bytes
EXPECTED
