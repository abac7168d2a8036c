//! Whole files: what torch wrote, and what an attacker or a broken download would make of it.

use super::test_files::{TorchFile, TorchTensor, TorchValue, Zip64, ZipEntry, open, safetensors_file, zip};
use super::*;
use proptest::prelude::*;

/// Written by torch 2.6: nested dictionaries of tensors that share a storage, a transposed one, a parameter, every
/// float type, a scalar, an empty tensor, an optimizer's state, and things that are no tensors.
const TORCH_2_6: &[u8] = include_bytes!("testdata/torch_2_6.pt");

fn refusal(bytes: Vec<u8>) -> CheckpointProblem {
    Checkpoint::from_bytes("bad.pt", bytes).unwrap_err().problem
}

fn pickle_refusal(pickle: &[u8]) -> String {
    refusal(TorchFile::with_pickle(pickle.to_vec(), Vec::new()).bytes()).to_string()
}

fn tensor_refusal(change: impl FnOnce(&mut TorchTensor)) -> String {
    let TorchValue::Tensor(mut tensor) = TorchValue::f32(&[2, 3], &[0.0; 6]) else { unreachable!() };
    change(&mut tensor);
    refusal(TorchFile::of(TorchValue::dict([("w", TorchValue::Tensor(tensor))])).bytes()).to_string()
}

#[test]
fn a_file_of_torch_itself_is_read() {
    let file = Checkpoint::from_bytes("torch_2_6.pt", TORCH_2_6.to_vec()).unwrap();
    let generator = Selection {
        unwrap: Unwrap::Required("generator"),
        strip_prefix_if_all: Some("model."),
        ..Selection::ALL
    };
    let generator = file.select(&generator).unwrap();
    let tensor = |name: &str| {
        let tensor = generator.get(name).unwrap();
        (tensor.dtype(), tensor.shape().to_vec(), tensor.to_f32())
    };
    let upto_24: Vec<f32> = (0..24u8).map(f32::from).collect();
    assert_eq!(tensor("a.weight"), (FileDType::F32, vec![4, 6], upto_24.clone()));
    assert_eq!(tensor("shared"), (FileDType::F32, vec![2, 3], upto_24[6..12].to_vec()));
    let transposed: Vec<f32> = (0..24).map(|i| upto_24[i % 4 * 6 + i / 4]).collect();
    assert_eq!(tensor("transposed"), (FileDType::F32, vec![6, 4], transposed));
    assert_eq!(tensor("bf16"), (FileDType::Bf16, vec![3], vec![1.0, -2.5, 3.140625]));
    assert_eq!(tensor("f16"), (FileDType::F16, vec![2, 1], vec![0.5, 65504.0]));
    assert_eq!(tensor("f8"), (FileDType::F8E4M3, vec![3], vec![1.0, -448.0, 0.001_953_125]));
    assert_eq!(tensor("param"), (FileDType::F64, vec![2], vec![7.0, 8.0]));
    assert_eq!(tensor("empty"), (FileDType::F32, vec![0, 4], vec![]));
    assert_eq!(tensor("scalar"), (FileDType::I64, vec![], vec![42.0]));
    assert_eq!(tensor("flag"), (FileDType::Bool, vec![2], vec![1.0, 0.0]));
    assert_eq!(generator.len(), 10);
    let linear = file.select(&Selection { unwrap: Unwrap::Required("linear"), ..Selection::ALL }).unwrap();
    assert_eq!(linear.get("weight").unwrap().to_bf16()[5].to_f32(), 6.0);
    assert_eq!(file.get("optimizer.state.0.step").unwrap().to_i32().unwrap(), [3]);
    assert_eq!(file.len(), 13);
}

#[test]
fn numbers_are_borrowed_from_the_file_where_they_lie_as_they_are_wanted() {
    let file = |header: &str, data: &[u8]| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes().chain(data.iter().copied()));
        Checkpoint::from_bytes("numbers.safetensors", bytes).unwrap()
    };
    let header = r#"{"narrow":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]},
        "half":{"dtype":"BF16","shape":[2],"data_offsets":[1,5]},
        "wide":{"dtype":"F32","shape":[1],"data_offsets":[5,9]}}"#;
    // One of the headers puts the halves at an even address.
    let mut borrowed = 0;
    for header in [header.to_owned(), format!("{header} ")] {
        let file = file(&header, &[0x38, 0x80, 0x3f, 0x20, 0xc0, 0, 0, 0x80, 0x3f]);
        let narrow = file.numbers("narrow").unwrap();
        assert!(matches!(&narrow, Numbers::F8E4M3(Cow::Borrowed([0x38]))), "{narrow:?}");
        assert_eq!(narrow.into_bf16(), [half::bf16::ONE].as_slice());
        assert_eq!(["narrow", "half", "wide"].map(|name| file.is_e4m3(name)), [true, false, false]);
        let Numbers::Bf16(halves) = file.numbers("half").unwrap() else { panic!("not bf16") };
        assert_eq!([halves[0].to_f32(), halves[1].to_f32()], [1.0, -2.5]);
        borrowed += usize::from(matches!(halves, Cow::Borrowed(_)));
        assert!(matches!(file.numbers("wide").unwrap(), Numbers::Bf16(Cow::Owned(_))));
        assert_eq!(file.read_bf16("wide").unwrap(), [half::bf16::ONE]);
    }
    assert_eq!(borrowed, 1);
    let torch = Checkpoint::from_bytes("torch_2_6.pt", TORCH_2_6.to_vec()).unwrap();
    let nested = Selection { unwrap: Unwrap::Required("generator"), ..Selection::ALL };
    let transposed = torch.select(&nested).unwrap().read_bf16("model.transposed").unwrap();
    assert_eq!(transposed[1].to_f32(), 6.0);
}

#[test]
fn the_kind_of_a_file_is_told_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let misnamed = folder.path().join("weights.safetensors");
    std::fs::write(&misnamed, TORCH_2_6).unwrap();
    assert_eq!(Checkpoint::open(&misnamed).unwrap().len(), 13);
    let error = Checkpoint::open(folder.path().join("none.pt")).unwrap_err();
    assert!(
        matches!(error.problem(), CheckpointProblem::Io(_)) && !error.to_string().contains('/'),
        "{error}"
    );
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(matches!(error.problem(), CheckpointProblem::NotAFile | CheckpointProblem::Io(_)), "{error}");
    let empty = folder.path().join("empty.pt");
    std::fs::write(&empty, []).unwrap();
    assert!(Checkpoint::open(&empty).unwrap_err().to_string().starts_with("empty.pt: is empty"));
}

#[test]
fn files_that_are_often_mistaken_for_weights_are_named() {
    let problem = |bytes: &[u8]| refusal(bytes.to_vec()).to_string();
    assert!(problem(b"version https://git-lfs.github.com/spec/v1\noid sha256:0").contains("Git LFS pointer"));
    assert!(problem(b"<!DOCTYPE html><title>404</title>").contains("web page"));
    assert!(problem(b"GGUF\x03\x00\x00\x00").contains("GGUF"));
    assert!(problem(b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}.").contains("Python pickle"));
    assert!(problem(b"hello").contains("no format"));
    let legacy = [&b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"[..], &[0; 40]].concat();
    assert!(matches!(refusal(legacy), CheckpointProblem::LegacyTorch));
    let mut script = TorchFile::of(TorchValue::dict([("a", TorchValue::f32(&[1], &[0.0]))]));
    script.entries.push(("archive/constants.pkl".to_owned(), Vec::new()));
    assert!(matches!(refusal(script.bytes()), CheckpointProblem::TorchScript));
}

#[test]
fn other_shapes_of_state_dicts_are_read() {
    let tensor = || TorchValue::f32(&[1], &[1.0]);
    let file = open(&TorchFile::of(TorchValue::OrderedDict(vec![
        ("list".to_owned(), TorchValue::List(vec![TorchValue::Int(7), tensor()])),
        ("byte".to_owned(), TorchValue::tensor("ByteStorage", 1, &[2], vec![1, 255])),
        // Python 2 strings, a tuple, a long, a float, and a frame of protocol 4 that only announces.
        (
            "more".to_owned(),
            TorchValue::Raw(
                b"}(U\x01a)U\x01b\x8a\x01\xffU\x01cG\0\0\0\0\0\0\0\0\x95\0\0\0\0\0\0\0\0u".to_vec(),
            ),
        ),
    ])));
    let names: Vec<&str> = file.tensors().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["byte", "list.1"]);
    assert_eq!(file.get("byte").unwrap().to_i32().unwrap(), [1, 255]);
}

#[test]
fn wide_zip_records_are_read() {
    let file = TorchFile::of(TorchValue::dict([("w", TorchValue::f32(&[2], &[1.0, 2.0]))]));
    let entries: Vec<_> = file.entries.iter().map(|(name, data)| ZipEntry::stored(name, data)).collect();
    let wide = zip(&entries, Zip64::Everywhere);
    let read = Checkpoint::from_bytes("wide.pt", wide.clone()).unwrap();
    assert_eq!(read.get("w").unwrap().to_f32(), [1.0, 2.0]);
    for len in 0..wide.len() {
        assert!(Checkpoint::from_bytes("wide.pt", wide[..len].to_vec()).is_err());
    }
}

#[test]
fn compressed_and_lying_zip_entries_are_refused() {
    let file = TorchFile::of(TorchValue::dict([("w", TorchValue::f32(&[1], &[1.0]))]));
    let with = |change: &dyn Fn(&mut ZipEntry<'_>)| {
        let mut entries: Vec<_> =
            file.entries.iter().map(|(name, data)| ZipEntry::stored(name, data)).collect();
        entries.iter_mut().filter(|entry| entry.name == "archive/data/0").for_each(change);
        refusal(zip(&entries, Zip64::No))
    };
    let compressed =
        |problem| matches!(problem, CheckpointProblem::Compressed { entry } if entry == "archive/data/0");
    assert!(compressed(with(&|entry| entry.method = 8)));
    assert!(compressed(with(&|entry| entry.flags = 1)));
    let message = with(&|entry| entry.unpacked_bytes = 1 << 30).to_string();
    assert!(message.contains("two sizes"), "{message}");
    let message = with(&|entry| (entry.stored_bytes, entry.unpacked_bytes) = (1 << 30, 1 << 30)).to_string();
    assert!(message.contains("reaches beyond"), "{message}");
    let message = with(&|entry| entry.name = "archive/data/1").to_string();
    assert!(message.contains("tensor w: its storage data/0 is not in the archive"), "{message}");
    let message = with(&|entry| entry.name = "archive/version").to_string();
    assert!(message.contains("twice"), "{message}");
}

#[test]
fn a_directory_that_claims_more_than_there_is_is_refused() {
    let mut file = TorchFile::of(TorchValue::dict([("w", TorchValue::f32(&[1], &[1.0]))])).bytes();
    let end = file.len() - 22;
    let valid = file.clone();
    file[end + 8..end + 12].copy_from_slice(&[0xf0, 0xf0, 0xf0, 0xf0]);
    assert!(refusal(file).to_string().contains("cut short"));
    let mut file = valid.clone();
    file[end + 16..end + 20].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(refusal(file), CheckpointProblem::Truncated { .. }));
    let mut file = valid;
    file[end + 10..end + 12].copy_from_slice(&[0xff, 0xff]);
    assert!(refusal(file).to_string().contains("wide end record"));
}

#[test]
fn big_endian_files_are_refused() {
    let mut file = TorchFile::of(TorchValue::dict([("w", TorchValue::f32(&[1], &[1.0]))]));
    file.entries[1].1 = b"big".to_vec();
    assert!(matches!(refusal(file.bytes()), CheckpointProblem::BigEndian));
    file.entries[1].1 = b"pdp".to_vec();
    assert!(refusal(file.bytes()).to_string().contains("byteorder"));
}

#[test]
fn nothing_but_tensors_can_be_asked_for() {
    for (pickle, global) in [
        (&b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R."[..], "os.system"),
        (b"\x80\x02c__builtin__\neval\n.", "__builtin__.eval"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch\nComplexFloatStorage\n.", "torch.ComplexFloatStorage"),
        (b"\x80\x02c\n\n.", "."),
    ] {
        match refusal(TorchFile::with_pickle(pickle.to_vec(), Vec::new()).bytes()) {
            CheckpointProblem::ForbiddenGlobal { global: named } => assert_eq!(named, global),
            other => panic!("{other}"),
        }
    }
    // Calling something that is no function, or a known one with the wrong arguments; unknown instructions.
    assert!(pickle_refusal(b"\x80\x02})R.").contains("calls a dict"));
    assert!(
        pickle_refusal(b"\x80\x02ctorch\nFloatStorage\n)R.").contains("arguments that torch never gives")
    );
    assert!(pickle_refusal(b"\x80\x02ctorch._utils\n_rebuild_parameter\n(NNNtR.").contains("arguments"));
    assert!(pickle_refusal(b"\x80\x02Nq\0}b.").contains("attributes of None"));
    for op in [b'o', b'i', b'P', 0x81, 0x92, 0x82] {
        assert!(pickle_refusal(&[0x80, 2, op, b'.']).contains("none that weights need"), "{op:#x}");
    }
}

#[test]
fn pickles_that_misuse_the_stack_are_refused() {
    for pickle in [
        &b"\x80\x02."[..],
        b"\x80\x02}a.",
        b"\x80\x02}Na.",
        b"\x80\x02]NNs.",
        b"\x80\x02}(Nu.",
        b"\x80\x02t.",
        b"\x80\x02u.",
        b"\x80\x02(.",
        b"\x80\x02N(\x85.",
        b"\x80\x02h\0.",
        b"\x80\x02j\xff\xff\xff\xff.",
        b"\x80\x02NQ.",
        b"\x80\x02R.",
        b"\x80\x02b.",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x80\x02\x8a\xff.",
        b"\x80\x02q\0.",
        b"\x80\x01.",
        b"\x80\x02NN\x93.",
        b"\x80\x02X\x01\0\0\0\xff.",
        b"\x80\x02c",
        b"\x80\x02(e.",
        b"",
        b"\x80",
    ] {
        let message = pickle_refusal(pickle);
        assert!(message.starts_with("has a damaged pickle"), "{pickle:?}: {message}");
    }
}

#[test]
fn deep_circular_and_multiplying_objects_are_refused() {
    let nested = |open: &[u8], depth: usize| [b"\x80\x02", &open.repeat(depth)[..], b"."].concat();
    assert!(pickle_refusal(&nested(b"(", 100_000)).contains("more than 256 open containers"));
    assert!(pickle_refusal(&nested(b"N", 1_000_000)).contains("more than 131072 open objects"));
    // A list in a list in a list…: `(` `]` and at the end `e`.
    let deep = [b"\x80\x02]", &b"(]".repeat(200)[..], &b"e".repeat(200), b"."].concat();
    assert!(pickle_refusal(&deep).contains("more than 32 dictionaries inside each other"));
    // A list that holds itself.
    assert!(pickle_refusal(b"\x80\x02]q\0h\0a.").contains("inside each other"));
    // Thirty lists, each holding the one before twice.
    let mut laughs = b"\x80\x02]q\0".to_vec();
    for i in 0..30 {
        laughs.extend([b']', b'q', i + 1, b'(', b'h', i, b'h', i, b'e']);
    }
    laughs.push(b'.');
    assert!(pickle_refusal(&laughs).contains("more than 2000000 objects"));
    // The same object kept under many numbers.
    let flood: Vec<u8> = (0..600_000u32).flat_map(|key| [&b"r"[..], &key.to_le_bytes()].concat()).collect();
    assert!(
        pickle_refusal(&[b"\x80\x02N", &flood[..], b"."].concat()).contains("a dict of tensors is expected")
    );
    let endless = [b"\x80\x02N", &b"q\0".repeat(2_000_001)[..], b"."].concat();
    assert!(pickle_refusal(&endless).contains("more than 2000000 pickle instructions"));
}

#[test]
fn tensors_that_reach_out_of_their_storage_are_refused() {
    assert!(
        tensor_refusal(|tensor| tensor.offset = 1)
            .contains("tensor w: it reaches to byte 28 of a storage of 24")
    );
    assert!(tensor_refusal(|tensor| tensor.offset = -1).contains("too large"));
    assert!(tensor_refusal(|tensor| tensor.shape[0] = 3).contains("reaches to byte 36"));
    assert!(tensor_refusal(|tensor| tensor.shape[0] = -2).contains("its shape is not"));
    assert!(tensor_refusal(|tensor| tensor.strides[0] = -3).contains("its strides do not fit"));
    assert!(tensor_refusal(|tensor| tensor.strides[0] = i32::MAX).contains("reaches to byte"));
    assert!(tensor_refusal(|tensor| tensor.strides = vec![1]).contains("its strides do not fit"));
    assert!(tensor_refusal(|tensor| tensor.elements = 7).contains("24 bytes where 7 elements of 4"));
    assert!(tensor_refusal(|tensor| tensor.elements = -1).contains("something else than a storage"));
    assert!(tensor_refusal(|tensor| tensor.shape = vec![i32::MAX; 3]).contains("its strides do not fit"));
    let huge = |tensor: &mut TorchTensor| (tensor.shape, tensor.strides) = (vec![i32::MAX; 3], vec![0; 3]);
    assert!(tensor_refusal(huge).contains("too large"));
    let expanded = |tensor: &mut TorchTensor| (tensor.shape, tensor.strides) = (vec![1 << 30], vec![0]);
    assert!(tensor_refusal(expanded).contains("share their memory"));
    let hidden = |tensor: &mut TorchTensor| {
        (tensor.shape, tensor.strides) = (vec![0, i32::MAX, i32::MAX, 5], vec![1; 4]);
    };
    assert!(tensor_refusal(hidden).contains("too large"));
    let ranks = |tensor: &mut TorchTensor| (tensor.shape, tensor.strides) = (vec![1; 9], vec![1; 9]);
    assert!(tensor_refusal(ranks).contains("at most 8 extents"));
}

#[test]
fn tensors_without_a_usable_name_are_refused() {
    let tensor = || TorchValue::f32(&[1], &[0.0]);
    let file = |root| refusal(TorchFile::of(root).bytes()).to_string();
    assert!(file(tensor()).contains("holds a tensor where a dict"));
    assert!(file(TorchValue::Int(1)).contains("holds an int where a dict"));
    assert!(file(TorchValue::dict([("a", TorchValue::Int(1))])).contains("holds no tensors"));
    assert!(file(TorchValue::dict([("a".repeat(2000), tensor())])).contains("bytes in the name of a tensor"));
    assert!(file(TorchValue::dict([("a", tensor()), ("a", tensor())])).contains("holds the tensor a twice"));
    let keyless = TorchValue::Raw(b"}N]s".to_vec());
    assert!(file(TorchValue::dict([("a", keyless)])).contains("the key of a tensor is None"));
}

/// Reads everything that an accepted file has.
fn read_all(bytes: Vec<u8>) -> Option<usize> {
    let checkpoint = Checkpoint::from_bytes("any", bytes).ok()?;
    Some(checkpoint.tensors().map(|tensor| tensor.to_f32().len() + tensor.to_bf16().len()).sum())
}

#[test]
fn every_truncation_is_refused() {
    for len in 0..TORCH_2_6.len() {
        assert_eq!(read_all(TORCH_2_6[..len].to_vec()), None, "{len}");
    }
    let file = safetensors_file(&[("a", &[2], &[1.0, 2.0]), ("b", &[0], &[])]);
    for len in 0..file.len() {
        assert_eq!(read_all(file[..len].to_vec()), None, "{len}");
    }
}

#[test]
fn no_changed_byte_panics() {
    let file = safetensors_file(&[("a", &[2], &[1.0, 2.0]), ("b", &[0], &[])]);
    for (file, name) in [(&file[..], "safetensors"), (TORCH_2_6, "torch")] {
        for at in 0..file.len() {
            for change in [1, 0x20, 0x80, 0xff] {
                let mut changed = file.to_vec();
                changed[at] ^= change;
                if let Some(elements) = read_all(changed) {
                    assert!(elements <= 4 * file.len(), "{name} {at}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_changes_panic(changes in prop::collection::vec((0..TORCH_2_6.len(), any::<u8>()), 1..12)) {
        let mut changed = TORCH_2_6.to_vec();
        for (at, value) in changes {
            changed[at] = value;
        }
        read_all(changed);
    }

    #[test]
    fn no_pickle_panics(ops in prop::collection::vec(prop::sample::select(&b"\x80\x02()]}NKXqhtesuabRQJ\x85\x86\x87\x93.\0\x01"[..]), 0..64)) {
        let pickle = [b"\x80\x02", &ops[..]].concat();
        read_all(TorchFile::with_pickle(pickle, vec![vec![0; 8]]).bytes());
    }
}
