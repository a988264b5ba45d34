//! Digests of layers as bytes, to be kept in files: what a layer is and what its digests are, in records of one
//! length. Whether a file is whole is for whoever keeps it to check.

use mockreg_proto::digest::Digest;

use crate::layer::Layer;
use crate::spec::{Content, Form, LayerId, LayerSpec};
use crate::tables::LayerDigests;

/// Bytes of a record: form, content, unique, size, id, digest, diff_id, CRC-32 of the tar. Numbers are
/// little-endian. The size of the tar follows from the rest.
const RECORD: usize = 3 + 8 + 16 + 32 + 32 + 4;

/// The records of these layers, one after the other. Layers with digests other than SHA-256 are left out.
pub fn encode(records: &[(LayerSpec, LayerDigests)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len() * RECORD);
    for (spec, digests) in records {
        let (digest, diff_id) = (digests.digest.as_bytes(), digests.diff_id.as_bytes());
        if digest.len() != 32 || diff_id.len() != 32 {
            continue;
        }
        let form = match spec.form() {
            Form::Tar => 0,
            Form::Gzip => 1,
            Form::Zstd => 2,
        };
        let content = match spec.content() {
            Content::Letters => 0,
            Content::Incompressible => 1,
        };
        bytes.extend_from_slice(&[form, content, spec.is_unique().into()]);
        bytes.extend_from_slice(&spec.size().to_le_bytes());
        bytes.extend_from_slice(spec.id().as_bytes());
        bytes.extend_from_slice(digest);
        bytes.extend_from_slice(diff_id);
        bytes.extend_from_slice(&digests.tar_crc32.to_le_bytes());
    }
    bytes
}

/// What [`encode`] was given; `None` for bytes that it never gives.
pub fn decode(bytes: &[u8]) -> Option<Vec<(LayerSpec, LayerDigests)>> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    rest.is_empty().then(|| records.iter().map(record).collect())?
}

fn record(record: &[u8; RECORD]) -> Option<(LayerSpec, LayerDigests)> {
    let (&[form, content, unique], rest) = record.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (digest, rest) = rest.split_first_chunk()?;
    let (diff_id, rest) = rest.split_first_chunk()?;
    let (tar_crc32, _) = rest.split_first_chunk()?;
    let form = match form {
        0 => Form::Tar,
        1 => Form::Gzip,
        2 => Form::Zstd,
        _ => return None,
    };
    let content = match content {
        0 => Content::Letters,
        1 => Content::Incompressible,
        _ => return None,
    };
    let spec = LayerSpec::try_new(form, content, u64::from_le_bytes(*size), LayerId::from_bytes(*id)).ok()?;
    let spec = match unique {
        0 => spec,
        1 => spec.unique(),
        _ => return None,
    };
    let digests = LayerDigests {
        digest: Digest::from_bytes(*digest),
        diff_id: Digest::from_bytes(*diff_id),
        tar_size: Layer::new(spec).tar_size(),
        tar_crc32: u32::from_le_bytes(*tar_crc32),
    };
    Some((spec, digests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Tables;

    #[test]
    fn records_read_back_as_they_were_written() {
        let mut records = Vec::new();
        for form in [Form::Tar, Form::Gzip, Form::Zstd] {
            for content in [Content::Letters, Content::Incompressible] {
                let id = LayerId::derive(1, "a", "", "", records.len() as u32);
                let spec = LayerSpec::try_new(form, content, 10_240, id).unwrap();
                let spec = if records.len() % 2 == 0 { spec } else { spec.unique() };
                records.push((spec, Tables::new().digests(spec)));
            }
        }
        let bytes = encode(&records);
        assert_eq!(bytes.len(), 6 * RECORD);
        assert_eq!(decode(&bytes).unwrap(), records);
        assert_eq!(decode(&[]).unwrap(), []);
    }

    #[test]
    fn other_bytes_are_no_records() {
        let id = LayerId::derive(1, "a", "", "", 0);
        let spec = LayerSpec::try_new(Form::Gzip, Content::Letters, 10_240, id).unwrap();
        let bytes = encode(&[(spec, Tables::new().digests(spec))]);
        assert_eq!(decode(&bytes[1..]), None);
        for (at, value) in [(0, 3), (1, 2), (2, 2), (8, 255)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(decode(&wrong), None, "byte {at}");
        }
    }
}
