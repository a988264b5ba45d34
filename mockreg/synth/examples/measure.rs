//! How fast layers are made, hashed and recognised on this machine:
//! `cargo run --release -p mockreg-synth --example measure`
//!
//! Digests as a program has them that was just started, with the tables it was shipped with, and of a layer that has
//! a stream to itself; then what it takes without any table.

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

    let (tables, opened) = timed(Tables::new);
    println!("tables opened: {opened:.1?}");
    for (form, name) in [(Form::Gzip, "gzip"), (Form::Zstd, "zstd"), (Form::Tar, "tar")] {
        let took: Vec<Duration> = (0..9)
            .map(|n| {
                timed(|| tables.digests(spec(form, Content::Letters, n, SIZE - 51_200 * u64::from(n)))).1
            })
            .collect();
        println!("digests of 5 GiB {name}, n = 9: {}", spread(took));
    }
    let unique = spec(Form::Gzip, Content::Letters, 0, 1 << 30).unique();
    println!("digests of 1 GiB gzip, unique: {:.2?}", timed(|| tables.digests(unique)).1);
    println!(
        "digests of 1 GiB gzip without tables: {:.2?}",
        timed(|| Tables::bare().digests(spec(Form::Gzip, Content::Letters, 0, 1 << 30))).1
    );
    let (_, again) = timed(|| tables.digests(letters));
    println!("digests asked for again: {again:.1?}");

    for (name, spec) in [
        ("gzip", spec(Form::Gzip, Content::Letters, 1, 1 << 30)),
        ("zstd", spec(Form::Zstd, Content::Letters, 1, 1 << 30)),
        ("tar", spec(Form::Tar, Content::Letters, 1, 1 << 30)),
        ("gzip -c1", spec(Form::Gzip, Content::Incompressible, 1, 1 << 30)),
    ] {
        let layer = Layer::new(spec);
        let (_, made) = timed(|| layer.read(0, (1 << 30) - 8).map(|piece| piece.len()).sum::<usize>());
        println!("1 GiB of {name} made: {:.2} GB/s", rate(made));
        println!("1 GiB of {name} compared: {:.2} GB/s", rate(compare(&layer)));
    }

    for (form, name) in [(Form::Gzip, "gzip"), (Form::Zstd, "zstd"), (Form::Tar, "tar")] {
        let layer = Layer::new(spec(form, Content::Letters, 2, 64 << 30));
        let (_, took) = timed(|| {
            (0..100_000u64).for_each(|n| {
                black_box(layer.read(n * 687_194 + 17, 64).next());
            });
        });
        println!("64 bytes anywhere in 64 GiB of {name}: {:.2?}", took / 100_000);
    }
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
