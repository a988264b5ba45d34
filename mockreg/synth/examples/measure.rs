//! How fast layers are made, hashed and recognised on this machine:
//! `cargo run --release -p mockreg-synth --example measure`
//!
//! Digests first without any checkpoint, then with: the second figure is what a registry that knows the stream
//! pays for a layer it has not seen.

use std::hint::black_box;
use std::time::{Duration, Instant};

use mockreg_synth::{Comparison, Content, Form, Hasher, Layer, LayerId, LayerSpec, Tables};

const SIZE: u64 = 5 << 30;

/// Layers of one stream: ordinals eight apart.
fn spec(form: Form, content: Content, ordinal: u32, size: u64) -> LayerSpec {
    let id = LayerId::derive(1, "measure/app", "", "", ordinal);
    LayerSpec::try_new(form, content, size, id).expect("sizes here are whole mebibytes")
}

fn main() {
    let letters = spec(Form::Gzip, Content::Letters, 0, SIZE);
    let (first, took) = timed(|| Layer::new(letters).read(100_000, 1 << 20).count());
    println!("pool built and first MiB read ({first} pieces): {took:.1?}");

    // What any digest is measured against: the hash alone, over the same kind of pieces.
    let tar = Layer::new(spec(Form::Tar, Content::Letters, 0, 1 << 30));
    let mut hasher = Hasher::new();
    let (_, hashed) = timed(|| tar.read(0, 1 << 30).for_each(|piece| hasher.update(&piece)));
    println!("SHA-256 on one core: {:.2} GB/s", rate(hashed));

    let tables = Tables::new();
    let (_, cold) = timed(|| tables.digests(letters));
    println!("digests of 5 GiB gzip, cold: {cold:.2?}");
    let warm: Vec<Duration> = (1..=9)
        .map(|n| timed(|| tables.digests(spec(Form::Gzip, Content::Letters, 8 * n, SIZE - u64::from(n)))).1)
        .collect();
    println!("digests of 5 GiB gzip, warm, n = 9: {}", spread(warm));
    let (_, again) = timed(|| tables.digests(letters));
    println!("digests asked for again: {again:.1?}");

    for (name, spec) in [
        ("gzip", spec(Form::Gzip, Content::Letters, 1, 1 << 30)),
        ("tar", spec(Form::Tar, Content::Letters, 1, 1 << 30)),
        ("gzip -c1", spec(Form::Gzip, Content::Incompressible, 1, 1 << 30)),
    ] {
        let layer = Layer::new(spec);
        let (_, made) = timed(|| layer.read(0, (1 << 30) - 8).map(|piece| piece.len()).sum::<usize>());
        println!("1 GiB of {name} made: {:.2} GB/s", rate(made));
        println!("1 GiB of {name} compared: {:.2} GB/s", rate(compare(&layer)));
    }

    let layer = Layer::new(spec(Form::Gzip, Content::Letters, 2, 64 << 30));
    let (_, took) = timed(|| {
        (0..100_000u64).for_each(|n| {
            black_box(layer.read(n * 687_194 + 17, 64).next());
        });
    });
    println!("64 bytes anywhere in 64 GiB: {:.2?}", took / 100_000);
}

/// Time to compare a layer with itself, handed over in buffers like those of a connection.
fn compare(layer: &Layer) -> Duration {
    let mut comparison = Comparison::new();
    let mut buffer = Vec::new();
    let mut spent = Duration::ZERO;
    for piece in layer.read(0, (1 << 30) - 8) {
        buffer.extend_from_slice(&piece);
        if buffer.len() >= 256 << 10 {
            spent += timed(|| black_box(comparison.offer(&buffer))).1;
            buffer.clear();
        }
    }
    assert!(comparison.matched() > (1 << 30) - (2 << 20), "the layer is itself");
    spent
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

fn rate(took: Duration) -> f64 {
    (1u64 << 30) as f64 / 1e9 / took.as_secs_f64()
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("median {:.1?}, {:.1?} to {:.1?}", times[times.len() / 2], times[0], times[times.len() - 1])
}
